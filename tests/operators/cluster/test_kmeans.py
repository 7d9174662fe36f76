"""Balanced k-means, the nearest centroid, and greedy descent."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.cluster import grow, kmeans
from operators.cluster.grow import Grower, mean
from operators.cluster.kmeans import LONGEST, KMeansSettings, add_up, balance, steps_of_a_unit, trained
from operators.cluster.nearest import settled, squared_norms
from operators.cluster.tree import Descent, Tree, root

HOW = KMeansSettings(branching=16, iterations=20, sample=6400, share=1.5, seed=0)


def blobs(count: int, each: int, dimension: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points around well-separated centres, in random order, with the centre each belongs to."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((count, dimension)) * 4
    label = generator.permutation(np.repeat(np.arange(count), each))
    return (centres[label] + generator.normal(0, 0.1, (len(label), dimension))).astype(np.float32), label


def in_steps(points: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(points * np.float32(steps_of_a_unit(points))).round_()


def train_one(points: np.ndarray, clusters: int, name: str = "", **changes: object) -> np.ndarray:
    """Centroids of one node, in the unit of its points."""
    how = KMeansSettings(**{**HOW.__dict__, "branching": clusters, **changes})
    (trained_one,) = trained(in_steps(points)[None], np.array([len(points)]), np.array([clusters]), [name], how)
    return trained_one / steps_of_a_unit(points)


def nearest_of(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """By the definition, in float64."""
    apart = points[:, None].astype(np.float64) - centroids[None].astype(np.float64)
    return (apart**2).sum(axis=2).argmin(axis=1)


def random_tree(seed: int, branching: int, dimension: int) -> Tree:
    generator = np.random.default_rng(seed)
    tree = root(generator.standard_normal((1, dimension)).astype(np.float32))
    tree = tree.extended([generator.standard_normal((branching, dimension)).astype(np.float32)], branching)
    sizes = generator.integers(1, branching + 1, branching)
    return tree.extended([generator.standard_normal((n, dimension)).astype(np.float32) for n in sizes], branching)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.sampled_from([1.0, 1.5, 2.0]))
@settings(max_examples=100)
def test_no_cluster_holds_more_than_its_share(assignment: list[int], share: float) -> None:
    choice = np.array([[*assignment, -1]])
    balance(choice, np.array([len(assignment)]), np.array([5]), share)
    sizes = np.bincount(choice[0, :-1], minlength=5)
    assert choice[0, -1] == -1 and sizes.sum() == len(assignment)
    assert sizes.max() <= max(share * len(assignment) / 5, -(-len(assignment) // 5))
    if np.bincount(assignment, minlength=5).max() <= share * len(assignment) / 5:
        assert choice[0, :-1].tolist() == assignment


def test_every_other_point_of_the_largest_cluster_goes_to_the_smallest() -> None:
    choice = np.array([[0, 0, 1, 0, 0, 0, 0, 2, 1, 0]])
    balance(choice, np.array([10]), np.array([3]), 1.5)
    assert choice.tolist() == [[2, 0, 1, 2, 0, 2, 0, 2, 1, 0]]


def test_planted_clusters_are_recovered() -> None:
    points, label = blobs(16, 40)
    centroids = train_one(points, 16)
    assert len(set(zip(nearest_of(points, centroids).tolist(), label.tolist(), strict=True))) == 16
    for cluster in range(16):
        members = points[nearest_of(points, centroids) == cluster]
        np.testing.assert_allclose(centroids[cluster], members.mean(axis=0), atol=0.01)


def lloyd(points: np.ndarray, centroids: np.ndarray, steps: int) -> np.ndarray:
    """Brute force, in float64, without a bound on shares."""
    for _ in range(steps):
        nearest = nearest_of(points, centroids)
        centroids = np.stack(
            [
                points[nearest == one].mean(axis=0, dtype=np.float64) if (nearest == one).any() else centroids[one]
                for one in range(len(centroids))
            ]
        )
    return centroids


@pytest.mark.parametrize("seed", range(4))
def test_steps_are_those_of_lloyd(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same start; points and centroids lie on the grid of steps, so a few points may go another way."""
    monkeypatch.setattr(kmeans, "SETTLED", 1 << 40)
    points = np.random.default_rng(seed).standard_normal((500, 6)).astype(np.float32)
    start = train_one(points, 7, iterations=1, share=math.inf)
    points_on_grid = (in_steps(points) / steps_of_a_unit(points)).numpy()
    for steps in (1, 2, 5):
        centroids = train_one(points, 7, iterations=steps, share=math.inf)
        again = train_one(points, 7, iterations=steps + 1, share=math.inf)
        expected = lloyd(points_on_grid, centroids.astype(np.float64), 1)
        inertia = [
            ((points - of[nearest_of(points, of)]) ** 2).sum(axis=1).mean() for of in (centroids, again, expected)
        ]
        assert inertia[1] <= inertia[0] * 1.0001
        assert inertia[1] == pytest.approx(inertia[2], rel=0.003)
    assert len(start) == 7


def test_a_bound_on_shares_keeps_clusters_even() -> None:
    points = np.concatenate([blobs(1, 900)[0], blobs(7, 20, seed=1)[0]])
    points = points[np.random.default_rng(2).permutation(len(points))]
    even = np.bincount(nearest_of(points, train_one(points, 8, share=1.2)), minlength=8)
    free = np.bincount(nearest_of(points, train_one(points, 8, share=math.inf)), minlength=8)
    assert even.max() < 0.5 * free.max()


def test_there_are_no_more_centroids_than_distinct_points() -> None:
    points = np.repeat(np.eye(3, dtype=np.float32), 5, axis=0)
    assert sorted(map(tuple, train_one(points, 8).tolist())) == sorted(map(tuple, np.eye(3).tolist()))


def test_the_start_depends_on_seed_and_name() -> None:
    points = np.random.default_rng(0).standard_normal((300, 5)).astype(np.float32)
    first = train_one(points, 8, "1", iterations=1)
    assert np.array_equal(first, train_one(points, 8, "1", iterations=1))
    assert not np.array_equal(first, train_one(points, 8, "2", iterations=1))
    assert not np.array_equal(first, train_one(points, 8, "1", iterations=1, seed=1))


@pytest.mark.parametrize("threads", [1, 2])
def test_nodes_are_trained_alike_alone_and_together(threads: int) -> None:
    generator = np.random.default_rng(3)
    points = generator.standard_normal((5, 400, 9)).astype(np.float32)
    valid, counts, names = np.array([400, 310, 77, 400, 12]), np.array([6, 2, 6, 5, 4]), list("abcde")
    points[np.arange(400) >= valid[:, None]] = 0
    steps = (torch.from_numpy(points) * steps_of_a_unit(points.reshape(-1, 9))).round_()
    how = KMeansSettings(6, 8, 6400, 1.2, 0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = trained(steps, valid, counts, names, how)
        for one in range(5):
            room = steps[one : one + 1, : valid[one]]
            (alone,) = trained(room, valid[one : one + 1], counts[one : one + 1], [names[one]], how)
            assert alone.shape == (counts[one], 9) and np.array_equal(alone, together[one])
    finally:
        torch.set_num_threads(before)


def test_products_are_exact_whatever_the_order() -> None:
    """What makes training the same on all machines: no product or sum reaches 2^24."""
    points = np.random.default_rng(0).standard_normal((200, 384)).astype(np.float32) * 7
    whole = in_steps(points)
    assert LONGEST / 2 <= float(whole.norm(dim=1).max()) <= LONGEST + math.sqrt(384) / 2
    exact = whole.double() @ whole.double().T
    assert torch.equal((whole @ whole.T).double(), exact)
    shuffled = torch.randperm(384, generator=torch.Generator().manual_seed(0))
    assert torch.equal(whole[:, shuffled] @ whole[:, shuffled].T, whole @ whole.T)


def test_sums_by_product_and_by_addition_are_one() -> None:
    """A GPU multiplies with a matrix of zeros and ones, a CPU adds."""
    points = in_steps(np.random.default_rng(0).standard_normal((900, 16)).astype(np.float32))
    choice = torch.from_numpy(np.random.default_rng(1).integers(-1, 5, 900))
    sums, sizes = np.zeros((1, 5, 16)), np.zeros((1, 5), np.int64)
    add_up(points[None].numpy(), choice[None].numpy(), sums, sizes)
    member = (choice[None] == torch.arange(5)[:, None]).float()
    assert np.array_equal((member @ points).double().numpy(), sums[0])
    assert member.sum(1).tolist() == sizes[0].tolist()


@given(st.integers(0, 10**6), st.integers(1, 90), st.data())
@settings(max_examples=30)
def test_descent_is_greedy_and_does_not_depend_on_the_batch(seed: int, rows: int, data: st.DataObject) -> None:
    """From the root, or from the nearest node of the deepest level that is not too wide."""
    tree = random_tree(seed, 5, 11)
    vectors = np.random.default_rng(seed + 1).standard_normal((rows, 11)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("operators.cluster.tree.STRIDE", data.draw(st.sampled_from([1, 5, 256])))
        paths, entry = tree.descend(vectors), tree.entry
        chosen = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=40))
        again = tree.descend(vectors[chosen])
    begin = nearest_of(vectors, tree.centroids[entry])
    above = tree.ancestors(entry)
    for row, vector in enumerate(vectors.astype(np.float64)):
        node = begin[row]
        assert [path[row] for path in paths[: entry + 1]] == [level[node] for level in above]
        for level in range(entry, 2):
            children = [child for child in tree.children[level][node].tolist() if child >= 0]
            distances = [((vector - tree.centroids[level + 1][child]) ** 2).sum() for child in children]
            node = children[int(np.argmin(distances))]
            assert paths[level + 1][row] == node
    assert all(nodes.tolist() == path[chosen].tolist() for nodes, path in zip(again, paths, strict=True))


def test_descent_in_small_chunks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, vectors = random_tree(1, 6, 8), np.random.default_rng(2).standard_normal((300, 8)).astype(np.float32)
    whole = tree.descend(vectors)
    monkeypatch.setattr("operators.cluster.tree.CHUNK", 7)
    assert all(np.array_equal(one, other) for one, other in zip(whole, tree.descend(vectors), strict=True))
    assert [len(level) for level in tree.descend(vectors[:0])] == [0, 0, 0]


def test_what_a_product_cannot_tell_is_told_in_float64() -> None:
    """Centroids closer to one another than float32 can say, and one that is there twice."""
    generator = np.random.default_rng(0)
    base = generator.standard_normal(384)
    centroids = (base + generator.normal(0, 3e-7, (5, 384))).astype(np.float32)
    centroids[3] = centroids[1]
    rows = (base + generator.normal(0, 1.0, (400, 384))).astype(np.float32)
    expected = nearest_of(rows, centroids)
    squares, product = (centroids**2).sum(axis=1), -2 * rows @ centroids.T
    assert ((squares + product).argmin(axis=1) != expected).mean() > 0.3, "the case is too easy"
    given_ = [torch.from_numpy(one) for one in (product, squares[None], rows, centroids[None])]
    norms = (float(np.linalg.norm(rows, axis=1).max()), float(np.linalg.norm(centroids, axis=1).max()))
    result = settled(*given_, torch.zeros(400, dtype=torch.int64), norms)
    assert result.tolist() == expected.tolist()
    one = root(centroids[:1]).extended([centroids], 16)
    assert Descent(one)(rows)[1].tolist() == expected.tolist()


def test_equal_distances_go_to_the_first_child() -> None:
    tree = random_tree(0, 4, 6)
    tree.centroids[2][:] = tree.centroids[2][0]
    vectors = np.random.default_rng(0).standard_normal((70, 6)).astype(np.float32)
    assert set(tree.descend(vectors)[2].tolist()) == {0}


def test_a_missing_child_is_infinitely_far() -> None:
    squares = squared_norms(torch.ones(1, 3, 2), torch.tensor([[True, False, True]]))
    assert squares.tolist() == [[2.0, math.inf, 2.0]]


def test_leaves_know_the_nodes_above_them() -> None:
    tree = random_tree(4, 5, 3)
    for level, above in enumerate(tree.ancestors()):
        for leaf, node in enumerate(above.tolist()):
            name = tree.names[level][node]
            assert not name or f"{tree.names[-1][leaf]}.".startswith(f"{name}.")


@given(st.integers(0, 10**6), st.integers(1, 200), st.integers(1, 40))
@settings(max_examples=30)
def test_what_is_not_dropped_holds_the_floor(seed: int, rows: int, floor: int) -> None:
    generator = np.random.default_rng(seed)
    points = generator.standard_normal((rows, 5)).astype(np.float32)
    grower = Grower(points, rows, KMeansSettings(7, 4, 64, 1.5, 0))
    tree = grower.grown(2, floor, False)
    for level, nodes in enumerate(tree.descend(points)):
        sizes = np.bincount(nodes, minlength=len(tree.names[level]))
        assert sizes.min() >= min(floor, rows)


def test_the_smallest_cluster_is_dropped_and_its_points_go_to_those_that_remain() -> None:
    points = np.repeat(np.array([0, 1, 10, 11, 20, 30], np.float32), [4, 3, 2, 2, 3, 1])[:, None]
    places = np.array([0, 1, 10, 11, 20, 30], np.float32)[:, None]

    def left(floor: int) -> list[float]:
        grower = Grower(points, len(points), KMeansSettings(8, 4, 64, 1.5, 0))
        by_steps, _ = grower._divided(root(mean(points)), np.zeros(len(points), np.int64), [places], floor)
        in_a_stride, _ = grower._strode(root(mean(points)), [places], floor)
        assert by_steps.centroids[1].tolist() == in_a_stride.centroids[1].tolist()
        return by_steps.centroids[1].ravel().tolist()

    assert left(1) == [0, 1, 10, 11, 20, 30]
    assert left(2) == [0, 1, 10, 11, 20]
    # 30 goes, then 10 before 11, as the first of two equals; 0 and 1 are left alone.
    assert left(3) == [0, 1, 11, 20]
    assert len(left(100)) == 1


@pytest.mark.parametrize("stride", [1, 16, 256])
def test_rows_are_counted_where_they_descend_to(monkeypatch: pytest.MonkeyPatch, stride: int) -> None:
    """Training and descent begin at the same level, also where small nodes were dropped until it is narrow enough."""
    monkeypatch.setattr("operators.cluster.tree.STRIDE", stride)
    monkeypatch.setattr(grow, "STRIDE", stride)
    points = np.random.default_rng(1).standard_normal((900, 6)).astype(np.float32)
    tree = Grower(points, 900, KMeansSettings(4, 6, 300, 1.2, 0)).grown(3, 12, True)
    for names, nodes in zip(tree.names, tree.descend(points), strict=True):
        assert np.bincount(nodes, minlength=len(names)).min() >= 12
    assert tree.leaves > 16
    if stride == 256:
        assert tree.descend(points)[-1].tolist() == nearest_of(points, tree.centroids[-1]).tolist()
        for level, nodes in list(enumerate(tree.descend(points)))[1:-1]:
            means = [points[nodes == node].mean(axis=0) for node in range(len(tree.names[level]))]
            np.testing.assert_allclose(tree.centroids[level], means, atol=1e-6)


def test_the_tree_does_not_depend_on_what_is_trained_together(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).standard_normal((3000, 10)).astype(np.float32)
    grower = Grower(points, len(points), KMeansSettings(4, 6, 300, 1.2, 0))
    whole = grower.grown(3, 10, True)
    for together in (1, 1 << 14, 1 << 30):
        monkeypatch.setattr(grow, "_TOGETHER", together)
        other = grower.grown(3, 10, True)
        assert other.names == whole.names
        assert all(np.array_equal(a, b) for a, b in zip(other.centroids, whole.centroids, strict=True))
