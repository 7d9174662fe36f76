"""Training of feed-forward blocks for the nodes of the cluster tree; the model stays as it is, but for a change of it.

* ``operator``   the settings
* ``plan``       which nodes have a block, of how many rows, and the jobs that train them
* ``packing``    documents as sequences of one length, with attention inside each document
* ``frozen``     the model that is not trained: its lower layers once, its upper ones in every pass
* ``hooks``      what is added to a layer's output, and a change of its own matrices
* ``sequences``  packed sequences as the general trainer reads them
* ``student``    the blocks of a job, as the general trainer (`operators.train`) trains a memory
* ``training``   the epochs of a job, and its blocks as rows
"""
