"""Memories of a language model: the kinds there are, and the networks behind them.

* ``kinds``     the contract of a kind of memory, and where kinds register themselves
* ``trained``   the kinds whose memories are rows of the dataset `memories`
* ``datastore`` the kind "knn": the datastore of a bank, searched
* ``mlp``       a small network on one hidden vector, trained to predict as the retriever does (MLP Memory)
* ``decoder``   a small causal model on the text itself, trained to the same end (Memory Decoder)
* ``knn``       the retriever: keys, their search, and the vote of the neighbours (kNN-LM)
* ``student``   a network with a head over the tokens of a store, and its form as bytes (``weights``)
* ``stored``    the memories of a release, and the model that they belong to
* ``reopened``  their copies in other processes
* ``held_out``  rows of held-out text; ``texts`` reads their documents again for a decoder
* ``tuning``    weights of several memories together
* ``entering``  memories into a model, and out of it again
"""
