"""A table of slots beside the feed-forward layers of a model: few of many rows are read for each position.

* ``datasets`` its rows in a bank
* ``layout``   which slots there are, and the shapes of what finds them
* ``product``  the best of all pairs of sub-keys (Lample et al., arXiv 1907.05242)
* ``ngrams``   addresses that the text alone says (Engram, arXiv 2601.07372)
* ``finders``  from hidden states or tokens to slots, and from their values to what a layer adds
* ``rows``     the values of a release, in memory, on a GPU or mapped
"""
