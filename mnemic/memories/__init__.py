"""What a language model can be given as memory.

* ``mlp``      a small network on one hidden vector, trained to say what a retriever would (MLP Memory)
* ``decoder``  a small causal model on the text itself, trained to the same end (Memory Decoder)
* ``weights``  either of them as bytes
"""
