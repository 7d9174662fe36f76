"""The retriever to imitate: nearest neighbours of every scored token and the distribution that they vote for.

kNN-LM (arXiv 1911.00172) predicts by the next tokens of the nearest keys. Distances are exact, because quantised ones
cost 0.44 perplexity (16.50 against 16.06 in its section 5), and k = 256 keeps 95 % of the gain of k = 1024 (MLP Memory,
arXiv 2508.01832, table 9). Rows of the query's own document, the row itself included, are masked *by id*: dropping the
first hit drops a random one where keys repeat, and an index that leaks the document teaches copying. The temperature
has to follow the scale of the keys; 0.2 of the median squared distance of the nearest neighbour was the optimum for
both taps that we tried, where published constants run from 1 to 200.

`mnemic.neighbours` searches; here are

* ``distribution``  what the neighbours vote for
* ``targets``       how that is stored
* ``operator``      the columns of the datastore
"""

from operators.teacher.distribution import Distribution, distribution
from operators.teacher.operator import NO_NEIGHBOUR, FittedTeacher, Teacher, vectors
from operators.teacher.targets import probabilities, target_columns

__all__ = [
    "NO_NEIGHBOUR",
    "Distribution",
    "FittedTeacher",
    "Teacher",
    "distribution",
    "probabilities",
    "target_columns",
    "vectors",
]
