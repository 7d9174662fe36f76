"""Events to a tree of clusters: balanced hierarchical k-means, built from the root to the leaves.

The tree is the one of hierarchical memory banks (Pouransari et al., arXiv 2510.02375): 16 children a node, each node
trained on up to 20 steps of 6,400 examples. Every event is then assigned by greedy descent.

* ``sample``   which events are trained on: those of smallest draw, whoever looks at them
* ``train``    balanced k-means of a node, in numbers that add up exactly
* ``grow``     the tree from the root to the leaves
* ``nearest``  the nearest centroid, whatever it is computed with
* ``tree``     the tree, and the descent of rows through it
* ``paths``    the leaf of any event
* ``describe`` sizes, radii and example events of the nodes
* ``labels``   their most distinctive words
* ``drift``    when a tree no longer fits
* ``flat``     flat k-means by faiss
"""

from operators.cluster.operator import Cluster

__all__ = ["Cluster"]
