"""Knowledge edits: facts in the model beside the same facts as text; see `bench.edits.__main__`."""
