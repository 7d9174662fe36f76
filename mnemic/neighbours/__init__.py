"""Nearest neighbours of hidden states: what the teacher searches with, and a kNN-LM memory at inference.

Distances are exact in either way. Brute force is for small stores, and the oracle of the other; the lists find nearly
all neighbours in a small part of the time.

* ``exact``   brute force
* ``lists``   search in list-major order
* ``layout``  how a store is divided into lists, and how many of them are looked at
* ``parts``   the same search of a store that is held in parts
* ``codes``   keys as small integers, by which candidates are found
* ``select``  the best candidates of many queries, compiled for processors; ``select_torch`` the same by torch alone
"""
