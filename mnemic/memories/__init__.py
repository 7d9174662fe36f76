"""What a language model can be given as memory.

* ``mlp``       a small network on one hidden vector, trained to say what a retriever would (MLP Memory)
* ``decoder``   a small causal model on the text itself, trained to the same end (Memory Decoder)
* ``knn``       the retriever itself: a datastore, its search, and the vote of the neighbours (kNN-LM)
* ``student``   what trained memories have in common; ``weights``: safetensors bytes
* ``stored``    the memories of a bank, and the model that they belong to
* ``retriever`` the datastore of a bank as a kNN memory
* ``tuning``    weights of several memories together
"""
