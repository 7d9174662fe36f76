"""Scalar products of each row with the centroids of its own node.

A matrix library multiplies the rows of one node together, for which they have to be copied into the order of their
nodes first. Here a row is read where it lies: two rows of a node are multiplied with four centroids at once, which stay
in registers. For 16 children of 384 components that takes half the time of copy and products.
"""

from __future__ import annotations

import numpy as np

from mnemic.arrays import Integers, Vectors
from mnemic.compiled import multiplying


@multiplying
def own_products(rows: Vectors, place: Integers, node: Integers, centroids: Vectors, products: Vectors) -> None:
    """Write -2 times the scalar products of ``rows[place[i]]`` with the centroids of ``node[i]``: float32 [n, k].

    ``rows`` float32 [m, d], ``place`` int64 [n], ``node`` int64 [n], equal ones beside each other; ``centroids``
    float32 [nodes, k, d]. The last bits depend on the machine.
    """
    count, (_, children, length) = len(place), centroids.shape
    at = 0
    while at < count:
        both = at + 1 < count and node[at + 1] == node[at]
        beside = at + 1 if both else at
        first, second, own = rows[place[at]], rows[place[beside]], centroids[node[at]]
        for child in range(0, children - children % 4, 4):
            a, b, c, d = own[child], own[child + 1], own[child + 2], own[child + 3]
            first_a = first_b = first_c = first_d = np.float32(0)
            second_a = second_b = second_c = second_d = np.float32(0)
            for component in range(length):
                one, other = first[component], second[component]
                first_a += one * a[component]
                first_b += one * b[component]
                first_c += one * c[component]
                first_d += one * d[component]
                second_a += other * a[component]
                second_b += other * b[component]
                second_c += other * c[component]
                second_d += other * d[component]
            products[at, child], products[at, child + 1] = -2 * first_a, -2 * first_b
            products[at, child + 2], products[at, child + 3] = -2 * first_c, -2 * first_d
            products[beside, child], products[beside, child + 1] = -2 * second_a, -2 * second_b
            products[beside, child + 2], products[beside, child + 3] = -2 * second_c, -2 * second_d
        for child in range(children - children % 4, children):
            a = own[child]
            first_a = second_a = np.float32(0)
            for component in range(length):
                first_a += first[component] * a[component]
                second_a += second[component] * a[component]
            products[at, child], products[beside, child] = -2 * first_a, -2 * second_a
        at = beside + 1
