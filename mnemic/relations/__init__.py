"""Relations: triples of subject, label and object that a language model read in events, with sources and with times.

* ``datasets``  relations as a dataset of a bank
* ``reading``   the relations of a release, and which of them hold
"""
