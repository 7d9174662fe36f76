"""Cost of a build as the corpus grows: `python -m bench.scale`."""
