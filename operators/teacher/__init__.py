"""The retriever to imitate: nearest neighbours of every scored token and the distribution that they vote for.

kNN-LM (arXiv 1911.00172) predicts by the next tokens of the nearest keys. Distances are exact, because quantised ones
cost 0.44 perplexity (16.50 against 16.06 in its section 5). k = 256 keeps 95 % of the gain of k = 1024 (MLP Memory,
arXiv 2508.01832, table 9). Rows of the query's own document, the row itself included, are masked *by id*: dropping the
first hit drops a random one where keys repeat, and an index that leaks the document teaches copying.

There are two operators, because neighbours cost hours and the rest seconds: another temperature, support or mask is
computed from the stored neighbours. `mnemic.neighbours` searches; here are

* ``neighbours``    the operator of the search: its settings and its columns
* ``search``        the search of a store in memory, or of a part of it
* ``store``         the keys of a datastore, read as they are needed
* ``quantised``     the search by faiss's product codes, for keys that do not fit
* ``operator``      the operator of the distribution: its settings and its columns
* ``vote``          its temperature, and the votes of the neighbours
* ``copies``        documents so alike that they must not vote for one another
* ``temperature``   the scale of the distances
* ``distribution``  the distribution that the neighbours vote for
* ``targets``       the stored form of that
"""

from operators.teacher.neighbours import NO_NEIGHBOUR, Neighbours
from operators.teacher.operator import Teacher

__all__ = ["NO_NEIGHBOUR", "Neighbours", "Teacher"]
