"""The tree of clusters over a corpus of events."""

import collections
import pickle
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mnemic.errors import RecipeError, StepError
from mnemic.ids import hash_parts
from mnemic.schema import clusters
from operators import cluster as module
from operators.cluster import Cluster, ClusterPaths

TOPICS = ("apple pear plum", "bolt nut screw", "cello drum flute", "delta river sea")


class Rows:
    """A corpus in memory, in key order, that may hand out its rows in batches of another size than asked for."""

    def __init__(self, table: pa.Table, size: int | None = None) -> None:
        self.table, self.size = table.sort_by("id"), size

    def __len__(self) -> int:
        return len(self.table)

    def batches(self, columns: Sequence[str], size: int = 8192) -> Iterator[pa.RecordBatch]:
        yield from self.table.select(columns).combine_chunks().to_batches(self.size or size)

    def take(self, positions: Sequence[int], columns: Sequence[str]) -> pa.Table:
        return self.table.select(columns).take(positions)


def make_events(groups: int, each: int, seed: int = 0, dimension: int = 8) -> pa.Table:
    """Events around ``groups`` centres; the text of each tells its group."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((groups, dimension))
    label = generator.permutation(np.repeat(np.arange(groups), each))
    return events_around(centres, label, generator, 0.02)


def make_lopsided_events(groups: int, rows: int, seed: int, dimension: int = 8) -> pa.Table:
    """Events around ``groups`` centres, a few of which have most of them; some centres have one or none."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((groups, dimension))
    label = generator.choice(groups, rows, p=generator.dirichlet(np.full(groups, 0.5)))
    return events_around(centres, label, generator, 0.3)


def events_around(centres: np.ndarray, label: np.ndarray, generator: np.random.Generator, spread: float) -> pa.Table:
    dimension = centres.shape[1]
    vectors = centres[label] + generator.normal(0, spread, (len(label), dimension))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    texts = [
        f"the {TOPICS[group % 4]} and the topic{chr(97 + group % 26)} x {'common' if i % 9 else 'rare'}"
        for i, group in enumerate(label)
    ]
    return pa.table(
        {
            "id": pa.array([hash_parts("event", i) for i in range(len(label))]),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dimension),
            "text": pa.array(texts, pa.large_string()),
            "group": pa.array(label),
        }
    )


def fit(operator: Cluster, table: pa.Table, size: int | None = None) -> tuple[ClusterPaths, pa.Table, list[str]]:
    corpus = Rows(table, size)
    fitted = operator.fit(corpus, "cpu", lambda done, total: None)
    batch = corpus.table.combine_chunks().to_batches()[0]
    return fitted, fitted.tables["clusters"], fitted(batch).column("cluster").to_pylist()


def test_planted_groups_become_leaves_with_their_words() -> None:
    table = make_events(16, 40)
    _, nodes, paths = fit(Cluster(min_leaf=40), table)
    groups = table.sort_by("id")["group"].to_pylist()
    assert len(set(paths)) == len(set(zip(paths, groups, strict=True))) == 16
    label = dict(zip(nodes["path"].to_pylist(), nodes["label"].to_pylist(), strict=True))
    for path, group in zip(paths, groups, strict=True):
        assert label[path].split(", ")[0] == f"topic{chr(97 + group)}"
        assert set(label[path].split(", ")[1:]) == set(TOPICS[group % 4].split())


def test_the_table_describes_every_node() -> None:
    table = make_events(12, 60)
    fitted, nodes, paths = fit(Cluster(branching=4, depth=2), table)
    assert nodes.schema == clusters(8)
    rows = {row["path"]: row for row in nodes.to_pylist()}
    assert list(rows) == sorted(rows)
    vectors = np.array(table.sort_by("id")["vector"].to_pylist(), np.float64)
    for path, row in rows.items():
        below = [i for i, leaf in enumerate(paths) if not path or f"{leaf}.".startswith(f"{path}.")]
        assert row["size"] == len(below)
        assert row["level"] == (path.count(".") + 1 if path else 0)
        assert row["parent"] == path.rpartition(".")[0] and row["parent"] in rows
        assert below, "a node without events"
        distance = np.linalg.norm(vectors[below] - np.array(row["centroid"]), axis=1)
        assert row["radius"] == pytest.approx(np.sqrt((distance**2).mean()), rel=1e-5)
    assert rows[""]["size"] == len(table)
    np.testing.assert_allclose(rows[""]["centroid"], vectors.mean(axis=0), atol=1e-6)
    assert fitted.tree.depth == 2 and all(path.count(".") == 1 for path in paths)


def test_the_result_does_not_depend_on_row_order_or_batches() -> None:
    table = make_events(10, 50)
    expected = fit(Cluster(branching=5, min_leaf=20, sample=100), table)
    shuffled = table.take(np.random.default_rng(1).permutation(len(table)))
    for size in (1, 7, 64):
        _, nodes, paths = fit(Cluster(branching=5, min_leaf=20, sample=100), shuffled, size)
        assert nodes.equals(expected[1])
        assert paths == expected[2]
    corpus = Rows(table)
    one_by_one = [expected[0](batch).column("cluster")[0].as_py() for batch in Rows(table, 1).batches(["vector"])]
    assert one_by_one == expected[2] and len(corpus) == len(one_by_one)


def test_the_sample_is_the_rows_of_smallest_draw_whatever_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TRAINED", 100)
    monkeypatch.setattr(module, "_COUNTED", 150)
    monkeypatch.setattr(module, "_READ_FOR_WORDS", 120)
    table = make_events(6, 60)
    operator = Cluster(branching=3, min_leaf=20)
    points, _ = operator._sample(Rows(table, 11), lambda done: None)
    batch = table.sort_by("id").combine_chunks().to_batches()[0]
    order = np.argsort(module._draws(batch, 0))[:100]
    np.testing.assert_array_equal(points, module._vectors(batch)[order])
    assert fit(operator, table)[1].equals(fit(operator, table, 13)[1])


@pytest.mark.parametrize(
    ("rows", "expected"), [(0, 0), (127, 0), (128, 1), (1023, 1), (1024, 1), (16383, 1), (16384, 2), (262144, 3)]
)
def test_depth_follows_from_the_number_of_events(rows: int, expected: int) -> None:
    assert Cluster().levels(rows) == expected
    assert Cluster(depth=3).levels(rows) == 3


def test_small_corpora_get_fewer_children() -> None:
    _, nodes, paths = fit(Cluster(min_leaf=30), make_events(3, 40))
    assert nodes["path"].to_pylist() == ["", "0", "1", "2"]
    assert sorted(set(paths)) == ["0", "1", "2"]
    assert nodes["size"].to_pylist() == [120, 40, 40, 40]
    _, nodes, paths = fit(Cluster(), make_events(3, 40))
    assert nodes["path"].to_pylist() == [""] and set(paths) == {""}
    _, nodes, paths = fit(Cluster(branching=3, depth=3, min_leaf=1), make_events(1, 2))
    assert all(path.count(".") == 2 for path in paths)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("operator", "rows"),
    [
        (Cluster(), 1500),
        (Cluster(), 20_000),
        (Cluster(branching=4, min_leaf=16), 3000),
        (Cluster(branching=4, min_leaf=16, sample=200), 3000),
        (Cluster(branching=4, min_leaf=16, depth=3), 700),
        (Cluster(branching=8, min_leaf=1, depth=2), 300),
    ],
    ids=["default, small", "default, deep", "narrow", "little trained", "given depth", "no floor"],
)
def test_every_node_holds_at_least_min_leaf_events(operator: Cluster, rows: int, seed: int) -> None:
    fitted, nodes, paths = fit(operator, make_lopsided_events(40, rows, seed))
    counted = collections.Counter(paths)
    leaves = nodes.filter(pc.equal(nodes["level"], fitted.tree.depth))
    assert dict(zip(leaves["path"].to_pylist(), leaves["size"].to_pylist(), strict=True)) == counted
    assert len(counted) > 1 and min(nodes["size"].to_pylist()) >= operator.min_leaf
    assert fitted.tree.depth == operator.levels(rows)


def test_of_a_large_corpus_every_leaf_holds_its_part_of_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TRAINED", 1500)
    operator = Cluster(branching=4, min_leaf=50)
    table = make_lopsided_events(40, 4000, 0)
    fitted, _, _ = fit(operator, table)
    points, _ = operator._sample(Rows(table), lambda done: None)
    held = np.bincount(fitted.tree.descend(points)[-1], minlength=len(fitted.tree.names[-1]))
    assert len(held) > 4 and held.min() >= 50 * 1500 / 4000


def test_a_node_that_cannot_be_divided_has_one_child_with_all_its_events() -> None:
    _, nodes, paths = fit(Cluster(branching=4, depth=2, min_leaf=64), make_events(3, 40))
    assert nodes["path"].to_pylist() == ["", "0", "0.0"] and set(paths) == {"0.0"}
    assert nodes["size"].to_pylist() == [120, 120, 120]
    assert nodes["centroid"][0] == nodes["centroid"][1] == nodes["centroid"][2]


def test_labels_leave_out_stop_words_and_single_letters() -> None:
    _, nodes, _ = fit(Cluster(branching=2, depth=1, min_leaf=20), make_events(4, 20))
    words = {word for label in nodes["label"].to_pylist() for word in label.split(", ")}
    assert words and not words & {"the", "and", "x"}


def test_equally_distinctive_terms_come_in_alphabetical_order() -> None:
    table = make_events(1, 4).set_column(2, "text", pa.array(["zebra yak mule ant bee"] * 4, pa.large_string()))
    _, nodes, _ = fit(Cluster(), table)
    assert nodes["label"].to_pylist() == ["ant, bee, mule, yak"]


def test_what_was_learned_can_be_sent_to_a_worker() -> None:
    table = make_events(6, 40)
    fitted, _, paths = fit(Cluster(branching=3, min_leaf=20), table)
    copy = pickle.loads(pickle.dumps(fitted))
    assert copy(Rows(table).table.combine_chunks().to_batches()[0]).column("cluster").to_pylist() == paths
    schema = Cluster().output(table.schema)
    assert copy(next(Rows(table).batches(["vector"]))).schema == schema


def test_progress_ends_at_its_total() -> None:
    seen: list[tuple[int, int]] = []
    Cluster(branching=3, min_leaf=20).fit(Rows(make_events(6, 40), 50), "cpu", lambda *done: seen.append(done))
    assert seen == sorted(seen) and seen[-1] == (480, 480)


def test_what_cannot_be_clustered_is_refused() -> None:
    with pytest.raises(StepError, match="no events to cluster"):
        fit(Cluster(), make_events(1, 1).slice(0, 0))
    with pytest.raises(RecipeError, match="set branching to at least 2"):
        Cluster(branching=1)
    with pytest.raises(RecipeError, match="leave depth out"):
        Cluster(depth=-1)
