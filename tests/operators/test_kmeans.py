"""Balanced k-means and greedy descent."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.kmeans import Tree, balance, balanced_kmeans, drop_small, initial_centroids


def blobs(count: int, each: int, dimension: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points around well-separated centres, in random order, with the centre each belongs to."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((count, dimension)) * 4
    label = generator.permutation(np.repeat(np.arange(count), each))
    return (centres[label] + generator.normal(0, 0.1, (len(label), dimension))).astype(np.float32), label


def random_tree(seed: int, branching: int, dimension: int) -> Tree:
    generator = np.random.default_rng(seed)
    children = np.full((1, branching), -1)
    children[0] = np.arange(branching)
    below = np.full((branching, branching), -1)
    count = 0
    for node in range(branching):
        size = int(generator.integers(1, branching + 1))
        below[node, :size] = count + np.arange(size)
        count += size
    centroids = [generator.standard_normal((n, dimension)).astype(np.float32) for n in (1, branching, count)]
    names = [[""], [str(i) for i in range(branching)], [f"leaf {i}" for i in range(count)]]
    return Tree(names, centroids, [children, below])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.sampled_from([1.0, 1.5, 2.0]))
@settings(max_examples=100, deadline=None)
def test_no_cluster_holds_more_than_its_share(assignment: list[int], share: float) -> None:
    balanced = balance(np.array(assignment), 5, share)
    sizes = np.bincount(balanced, minlength=5)
    assert sizes.max() <= max(share * len(assignment) / 5, -(-len(assignment) // 5))
    before = np.bincount(assignment, minlength=5)
    if before.max() <= share * len(assignment) / 5:
        assert balanced.tolist() == assignment


def test_planted_clusters_are_recovered() -> None:
    points, label = blobs(16, 40)
    centroids, assignment = balanced_kmeans(points, 16, steps=20, sample=6400, share=1.5, seed=0, name="")
    assert len(centroids) == 16
    pairs = set(zip(assignment.tolist(), label.tolist(), strict=True))
    assert len(pairs) == 16


def test_the_last_steps_assignment_keeps_the_share() -> None:
    points = np.concatenate([blobs(1, 900)[0], blobs(7, 20, seed=1)[0]])
    points = points[np.random.default_rng(2).permutation(len(points))]
    _, assignment = balanced_kmeans(points, 8, steps=12, sample=6400, share=1.5, seed=0, name="")
    assert np.bincount(assignment).max() <= 1.5 * len(points) / 8


def test_steps_take_fresh_examples() -> None:
    points, _ = blobs(4, 100)
    centroids, assignment = balanced_kmeans(points, 4, steps=3, sample=150, share=1.5, seed=0, name="")
    again, _ = balanced_kmeans(points[np.arange(300, 450) % 400], 4, steps=0, sample=150, share=1.5, seed=0, name="")
    assert len(assignment) == 150 and centroids.shape == again.shape
    nearest = ((points[:, None] - centroids[None]) ** 2).sum(axis=2).argmin(axis=1)
    third = np.concatenate([points[300:], points[:50]]).astype(np.float64)
    expected = [third[assignment == cluster].mean(axis=0) for cluster in range(4)]
    np.testing.assert_allclose(centroids, expected)
    assert len(set(nearest.tolist())) == 4


def test_there_are_no_more_centroids_than_distinct_points() -> None:
    points = np.repeat(np.eye(3, dtype=np.float32), 5, axis=0)
    centroids = initial_centroids(points, 8, 0, "")
    assert sorted(map(tuple, centroids.tolist())) == sorted(map(tuple, np.eye(3).tolist()))


def test_initial_centroids_depend_on_seed_and_name() -> None:
    points, _ = blobs(16, 10)
    first = initial_centroids(points, 8, 0, "1")
    assert np.array_equal(first, initial_centroids(points, 8, 0, "1"))
    assert not np.array_equal(first, initial_centroids(points, 8, 0, "2"))
    assert not np.array_equal(first, initial_centroids(points, 8, 1, "1"))


@given(st.integers(0, 10**6), st.integers(1, 90), st.data())
@settings(max_examples=30, deadline=None)
def test_descent_is_greedy_and_does_not_depend_on_the_batch(seed: int, rows: int, data: st.DataObject) -> None:
    tree = random_tree(seed, 5, 11)
    vectors = np.random.default_rng(seed + 1).standard_normal((rows, 11)).astype(np.float32)
    paths = tree.descend(vectors)
    for row, vector in enumerate(vectors.astype(np.float64)):
        node = 0
        for level in range(2):
            children = [child for child in tree.children[level][node].tolist() if child >= 0]
            distances = [((vector - tree.centroids[level + 1][child]) ** 2).sum() for child in children]
            node = children[int(np.argmin(distances))]
            assert paths[level + 1][row] == node
    chosen = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=40))
    for level, nodes in enumerate(tree.descend(vectors[chosen])):
        assert nodes.tolist() == paths[level][chosen].tolist()


def test_equal_distances_go_to_the_first_child() -> None:
    tree = random_tree(0, 4, 6)
    tree.centroids[1][:] = tree.centroids[1][0]
    vectors = np.random.default_rng(0).standard_normal((70, 6)).astype(np.float32)
    assert set(tree.descend(vectors)[1].tolist()) == {0}


def test_the_smallest_cluster_is_dropped_and_its_points_go_to_those_that_remain() -> None:
    points = np.repeat(np.array([0, 1, 10, 11, 20, 30], np.float32), [4, 3, 2, 2, 3, 1])[:, None]
    centroids = np.array([0, 1, 10, 11, 20, 30], np.float32)[:, None]
    assert drop_small(points, centroids, 1, 8).ravel().tolist() == [0, 1, 10, 11, 20, 30]
    assert drop_small(points, centroids, 2, 8).ravel().tolist() == [0, 1, 10, 11, 20]
    # 30 goes, then 10 before 11, as the first of two equals; 0 and 1 are left alone.
    assert drop_small(points, centroids, 3, 8).ravel().tolist() == [0, 1, 11, 20]
    assert drop_small(points, centroids, 100, 8).shape == (1, 1)


@given(st.integers(0, 10**6), st.integers(1, 200), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_what_is_not_dropped_holds_the_floor(seed: int, rows: int, floor: int) -> None:
    generator = np.random.default_rng(seed)
    points = generator.standard_normal((rows, 5)).astype(np.float32)
    kept = drop_small(points, generator.standard_normal((7, 5)).astype(np.float32), floor, 9)
    sizes = np.bincount(((points[:, None] - kept[None]) ** 2).sum(axis=2).argmin(axis=1), minlength=len(kept))
    assert len(kept) == 1 or sizes.min() >= floor
