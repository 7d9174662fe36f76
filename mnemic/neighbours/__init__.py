"""Nearest neighbours of hidden states: the search of the teacher, and of a kNN-LM memory at inference.

Distances are exact in both searches. Brute force is for small stores, and checks the other. The lists find nearly all
neighbours in a small part of the time.

* ``exact``   brute force
* ``lists``   search in list-major order
* ``layout``  the division of a store into lists, and the number of lists that a query probes
* ``parts``   the same search of a store that is held in parts
* ``codes``   keys as small integers, by which candidates are chosen
* ``select``  the best candidates of many queries, compiled for processors; ``select_torch`` the same in torch
"""
