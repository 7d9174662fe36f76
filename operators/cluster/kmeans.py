"""Balanced k-means of several nodes at once, in numbers that add up exactly.

One node of the tree is trained as in hierarchical memory banks (Pouransari et al., arXiv 2510.02375, clustering tree):
k-means++ start, then expectation-maximisation steps on fresh examples. A cluster with more than ``share`` / k of a
step's assignments (0.094 = 1.5 / 16 in the paper) is split evenly with the smallest one. Without that, one cluster of a
corpus takes a third of the events, and its memory block is trained on everything. The paper splits at random; here the
points come in the order of a seeded hash and every other one goes, which is as random and always the same. One last
step takes all examples and splits nothing, so that a centroid is the mean of the examples that descend to it.

Points are rounded to whole steps, of which the longest has at most 2^11 (a power of two of them is a unit). Then all
products, distances and sums are whole numbers below 2^24, which float32 holds exactly in any order of addition. So the
centroids are the same bits with any number of threads and on any device. A step is 0.0005 of a unit vector's
length; that blurs the mean squared distance by 0.00001, where clusters of sentences have 0.5.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from mnemic.arrays import Floats, Hashes, Integers, Vectors
from mnemic.compiled import compiled
from mnemic.ids import hash_parts
from mnemic.splitmix import GAMMA, mixed
from operators.cluster.seeding import greedy_start

if TYPE_CHECKING:
    import torch


LONGEST = 1 << 11
"""Steps of the longest vector."""

SETTLED = 10
"""A node whose assignments change in less than one example of so many is trained."""

_BLOCK = 1024  # rows multiplied at once: what stays in a processor's own cache takes less than half the time
_DISTANCES = 1 << 24  # distances held at once
_FINE = 256  # parts of a step to which centroids are rounded
_CANDIDATES = 4  # points tried for each centroid of the start (greedy k-means++)


@dataclasses.dataclass(frozen=True)
class KMeansSettings:
    """Settings of a node's training: the fields of `operators.cluster.Cluster` of these names."""

    branching: int
    iterations: int
    sample: int
    share: float
    seed: int

    @property
    def examples(self) -> int:
        """The most rows of a node that are used."""
        return self.iterations * self.sample


def steps_of_a_unit(vectors: Vectors) -> float:
    """A power of two. Divided by it, the longest of ``vectors`` float32 [n, d] has at most 2^11 steps."""
    longest = math.sqrt(max((float(np.einsum("ij,ij->i", part, part).max()) for part in _parts(vectors)), default=0.0))
    return float(LONGEST / 2.0 ** math.ceil(math.log2(longest))) if longest > 0 else 1.0


def trained(
    points: torch.Tensor, valid: Integers, clusters: Integers, names: list[str], how: KMeansSettings
) -> list[Vectors]:
    """Centroids in steps, float32 [k, d], of each of several nodes.

    ``points`` float32 [nodes, m, d] are whole numbers in random order, zeros from row ``valid[i]`` on. The i-th node
    gets ``clusters[i]`` centroids, at most ``how.branching``, or one for each distinct point of the start if those are
    less. ``valid`` and ``clusters`` are int64 [nodes]; ``names`` seed the nodes' draws.
    """
    import torch

    centroids, distinct = _start(points, valid, int(clusters.max()), names, how)
    device, (_, m, _) = points.device, points.shape
    clusters = np.minimum(clusters, distinct)
    missing = torch.arange(centroids.shape[1], device=device) >= torch.from_numpy(clusters).to(device)[:, None]
    outside = torch.arange(m, device=device) >= torch.from_numpy(valid).to(device)[:, None]
    slices = max(1, round(m / how.sample))
    before, settled = None, torch.zeros(len(valid), dtype=torch.bool, device=device)
    for step in range(how.iterations):
        first, end = step % slices * m // slices, (step % slices + 1) * m // slices
        part = points[:, first:end]
        choice = _nearest(part, centroids, missing).masked_fill_(outside[:, first:end], -1)
        if not math.isinf(how.share):
            balanced = choice.cpu()
            balance(balanced.numpy(), np.minimum(valid, end) - first, clusters, how.share)
            choice = balanced.to(device)
        means = _means(part, choice, centroids).round_().float()
        centroids = torch.where(settled[:, None, None], centroids, means)
        if slices == 1:
            if before is not None:
                settled |= (choice != before).sum(1) * SETTLED < torch.from_numpy(valid).to(device)
            if bool(settled.all()):
                break
            before = choice
    choice = _nearest(points, centroids, missing).masked_fill_(outside, -1)
    exact = (_means(points, choice, centroids) * _FINE).round_() / _FINE
    return [one[:count] for one, count in zip(exact.float().cpu().numpy(), clusters.tolist(), strict=True)]


def moved(points: torch.Tensor, centroids: torch.Tensor, steps: int) -> torch.Tensor:
    """Centroids, float32 [nodes, k, d], after so many steps of plain k-means over ``points`` float32 [nodes, m, d]."""
    import torch

    missing = torch.zeros(centroids.shape[:2], dtype=torch.bool, device=points.device)
    for _ in range(steps):
        rounded = centroids.round()
        centroids = _means(points, _nearest(points, rounded, missing), centroids).float()
    return ((centroids.double() * _FINE).round_() / _FINE).float()


def _nearest(points: torch.Tensor, centroids: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
    """The nearest centroid of each point of its node, the first of equals: int64 [nodes, m]. All are whole numbers."""
    import torch

    nodes, m, _ = points.shape
    squares = centroids.square().sum(2).masked_fill_(missing, math.inf)[:, None, :]
    factors = (-2 * centroids).transpose(1, 2)
    choice = torch.empty(nodes, m, dtype=torch.int64, device=points.device)
    block = _BLOCK if points.device.type == "cpu" else max(_BLOCK, _DISTANCES // centroids.shape[1] // nodes)
    for start in range(0, m, block):
        distances = torch.bmm(points[:, start : start + block], factors).add_(squares)
        choice[:, start : start + block] = distances.min(2).indices
    return choice


def _means(points: torch.Tensor, choice: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """The mean of the points of each cluster, float64 [nodes, k, d]; a cluster without any stays where it is.

    -1 in ``choice`` is no cluster.
    """
    import torch

    nodes, m, d = points.shape
    sums = torch.zeros(nodes, centroids.shape[1], d, dtype=torch.float64, device=points.device)
    sizes = torch.zeros(nodes, centroids.shape[1], dtype=torch.int64, device=points.device)
    if points.device.type == "cpu":
        add_up(points.numpy(), choice.numpy(), sums.numpy(), sizes.numpy())
    else:
        for start in range(0, m, _BLOCK):
            cluster = torch.arange(sums.shape[1], device=points.device)
            member = choice[:, None, start : start + _BLOCK] == cluster[:, None]
            sums += torch.bmm(member.float(), points[:, start : start + _BLOCK])
            sizes += member.sum(2)
    return torch.where((sizes > 0)[:, :, None], sums / sizes.clamp(min=1)[:, :, None], centroids.double())


@compiled
def add_up(points: Vectors, choice: Integers, sums: Floats, sizes: Integers) -> None:
    """Add every point float32 [nodes, m, d] to the sum of its cluster, float64 [nodes, k, d], if it has one.

    ``choice`` int64 [nodes, m] are the clusters, -1 for none; ``sizes`` int64 [nodes, k] are counted too.

    A product with a matrix of zeros and ones, as on a GPU, takes four times as long on a CPU.
    """
    for node in range(points.shape[0]):
        for row in range(points.shape[1]):
            cluster = choice[node, row]
            if cluster >= 0:
                sizes[node, cluster] += 1
                total, point = sums[node, cluster], points[node, row]
                for component in range(points.shape[2]):
                    total[component] += point[component]


@compiled
def balance(choice: Integers, rows: Integers, clusters_of: Integers, share: float) -> None:
    """Move points out of clusters that hold more than ``share`` / k of a node's points, until none does.

    ``choice`` int64 [nodes, m] is changed; a node has ``rows`` points and ``clusters_of`` = k clusters, int64
    [nodes]. The largest and the smallest cluster end up with equally many; each time the points that move are spread
    evenly over the order of the points.
    """
    for node in range(len(rows)):
        count, clusters = rows[node], clusters_of[node]
        sizes = np.zeros(clusters, np.int64)
        for row in range(count):
            sizes[choice[node, row]] += 1
        while sizes.max() > share * count / clusters and sizes.max() - sizes.min() > 1:
            largest, smallest = sizes.argmax(), sizes.argmin()
            members, moving = sizes[largest], (sizes[largest] - sizes[smallest]) // 2
            seen = moved_already = 0
            for row in range(count):
                if choice[node, row] == largest:
                    if moved_already < moving and seen == moved_already * members // moving:
                        choice[node, row] = smallest
                        moved_already += 1
                    seen += 1
            sizes[largest] -= moving
            sizes[smallest] += moving


def _start(
    points: torch.Tensor, valid: Integers, clusters: int, names: list[str], how: KMeansSettings
) -> tuple[torch.Tensor, Integers]:
    """Greedy k-means++ (Arthur and Vassilvitskii 2007) among the first points of every node.

    Each next centroid is the best of four points drawn by their squared distance. Returns [nodes, clusters, d] and how
    many of those differ.
    """
    import torch

    some = points[:, : max(how.branching, min(16 * how.branching, 1024))]
    nodes, m, _ = some.shape
    device = points.device
    products = torch.bmm(some, some.transpose(1, 2))
    counts, drawn = np.minimum(valid, m), _uniform(how.seed, names, clusters)
    node = torch.arange(nodes, device=device)
    if device.type == "cpu":
        places, different = np.empty((nodes, clusters), np.int64), np.empty(nodes, np.int64)
        greedy_start(products.numpy(), counts, drawn, places, different)
        return points[node[:, None], torch.from_numpy(places)], different
    norms = products.diagonal(dim1=1, dim2=2)
    count, draws = torch.from_numpy(counts).to(device), torch.from_numpy(drawn).to(device)
    there = torch.arange(m, device=device) < count[:, None]
    apart = (norms[:, :, None] + norms[:, None, :] - 2 * products).mul_(there[:, None, :])
    chosen = [(draws[:, 0, 0] * count).long().clamp(max=m - 1)]
    distance = apart[node, chosen[0]]
    distinct = torch.ones(nodes, dtype=torch.int64, device=device)
    for number in range(1, clusters):
        total = distance.cumsum(1, dtype=torch.float64)
        aim = torch.minimum(draws[:, number] * total[:, -1:], total[:, -1:] - 1)
        candidates = torch.searchsorted(total, aim, right=True).clamp_(max=m - 1)
        left = torch.minimum(distance[:, None, :], apart[node[:, None], candidates])
        best = left.sum(2, dtype=torch.float64).min(1).indices
        distinct += total[:, -1] > 0
        chosen.append(candidates[node, best])
        distance = left[node, best]
    return points[node[:, None], torch.stack(chosen, 1)], distinct.cpu().numpy()


def _uniform(seed: int, names: list[str], clusters: int) -> Floats:
    """Numbers in [0, 1), float64 [nodes, clusters, candidates], that depend on the seed and the node's name alone."""
    begin = np.array([int(hash_parts("k-means++", seed, name)[:16], 16) for name in names], np.uint64)
    counter = np.arange(clusters * _CANDIDATES, dtype=np.uint64) * GAMMA
    bits: Hashes = mixed(begin[:, None] + counter) >> np.uint64(11)
    return (bits.astype(np.float64) * 2.0**-53).reshape(len(names), clusters, _CANDIDATES)


def _parts(vectors: Vectors) -> list[Vectors]:
    return [vectors[start : start + 65_536] for start in range(0, len(vectors), 65_536)]
