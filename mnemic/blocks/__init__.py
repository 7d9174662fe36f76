"""Feed-forward blocks of topics: rows that widen a language model's feed-forward layers for the text at hand.

Hierarchical memory banks (Pouransari et al., arXiv 2510.02375): every node of the cluster tree has a block, and a text
is read with those on the path to its leaf.

* ``layout``   a block as bytes: one contiguous cell
* ``shelf``    the blocks of a release, fetched when they are needed
* ``routes``   from a text to its leaf, and to the blocks that serve it
* ``wider``    a model with blocks merged into its own matrices
"""
