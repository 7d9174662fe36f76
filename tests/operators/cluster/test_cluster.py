"""The tree of clusters over a corpus of events."""

import collections
import pickle
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from clustered_events import TOPICS, make_events, make_lopsided_events
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import MissingExtra, RecipeError, StepError
from mnemic.ids import hash_parts
from mnemic.schema import clusters
from operators.cluster import Cluster
from operators.cluster import describe as description
from operators.cluster import operator as module
from operators.cluster import sample as sampling
from operators.cluster.describe import Describing, vectors_of
from operators.cluster.drift import Counting, drift, imbalance, why_due
from operators.cluster.operator import reduced
from operators.cluster.paths import ClusterPaths
from operators.cluster.sample import Sampling, draws
from operators.contracts import Reduction


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


def train_on_few(monkeypatch: pytest.MonkeyPatch, events: int) -> None:
    monkeypatch.setattr(module, "FEWEST_TRAINED", events)
    monkeypatch.setattr(module, "TRAINED_A_LEAF", 1)


def test_the_tree_of_a_sample_does_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    train_on_few(monkeypatch, 100)
    monkeypatch.setattr(description, "COUNTED", 150)
    monkeypatch.setattr(sampling, "READ", 120)
    table, operator = make_events(6, 60), Cluster(branching=3, min_leaf=20)
    assert operator.trained(360) == 100
    assert fit(operator, table)[1].equals(fit(operator, table, 13)[1])
    assert not fit(operator, table)[1].equals(fit(Cluster(branching=3, min_leaf=20, seed=1), table)[1])


def parted(table: pa.Table, parts: list[list[int]]) -> list[pa.RecordBatch]:
    return [table.take(part).combine_chunks().to_batches()[0] for part in parts]


def in_any_order(reduction: Reduction, parts: list[pa.RecordBatch], generator: np.random.Generator) -> object:
    """Partial results merged two by two, in a random tree of merges."""
    partials = [reduction.partial(part) for part in parts]
    while len(partials) > 1:
        one, other = (partials.pop(int(generator.integers(len(partials)))) for _ in range(2))
        partials.append(reduction.merge(one, other))
    return partials[0]


@given(st.integers(0, 10**6), st.integers(1, 12))
@settings(max_examples=20)
def test_any_division_of_the_work_draws_and_describes_the_same(seed: int, workers: int) -> None:
    generator = np.random.default_rng(seed)
    table = make_events(5, 30).append_column("number", pa.array(np.arange(150), pa.uint64()))
    owner = generator.integers(0, workers, 150)
    parts = [np.flatnonzero(owner == worker).tolist() for worker in range(workers)]
    batches = parted(table, [generator.permutation(part).tolist() for part in parts if part])
    whole = table.combine_chunks().to_batches()

    drawing = Sampling(0, 40, 150)
    sample = drawing.partial(whole[0])
    order = np.argsort(draws(whole[0]["id"], 0))[:40]
    assert sample.numbers.tolist() == order.tolist()
    again = in_any_order(drawing, batches, generator)
    assert again.draws.tolist() == sample.draws.tolist() and again.numbers.tolist() == sample.numbers.tolist()
    words = [word for text in table["text"].to_pylist() for word in text.split() if word not in ("the", "and", "x")]
    assert again.words == sample.words == collections.Counter(words)

    fitted, _, _ = fit(Cluster(branching=3, min_leaf=20), table)
    with_paths = [batch.append_column("cluster", fitted(batch)["cluster"]) for batch in batches]
    describing = Describing(fitted.tree, tuple(sorted(sample.words)), 0, 150)
    nodes = describing.finish(in_any_order(describing, with_paths, generator))
    assert nodes.equals(fitted.tables["clusters"])
    counting = Counting(fitted.tree, nodes)
    assert counting.finish(
        in_any_order(counting, [batch.select(["id", "cluster"]) for batch in with_paths], generator)
    ).equals(nodes)


def test_texts_that_are_not_read_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "READ", 20)
    batch = make_events(5, 30).append_column("number", pa.array(np.arange(150), pa.uint64())).to_batches()[0]
    drawing = Sampling(0, 40, 150)
    places = drawing.reads(batch["id"])
    assert 5 < len(places) < 50
    texts = pa.array([text if i in set(places.tolist()) else None for i, text in enumerate(batch["text"].to_pylist())])
    bare = pa.RecordBatch.from_arrays([batch["id"], batch["number"], texts], names=["id", "number", "text"])
    assert drawing.partial(bare).words == drawing.partial(batch).words


def test_draws_depend_on_the_seed_and_the_id_alone_and_are_even() -> None:
    ids = [hash_parts("event", i) for i in range(4000)] + ["", "a", "b", "a longer name of nine"]
    drawn = draws(pa.array(ids), 0)
    assert len(set(drawn.tolist())) == len(ids)
    for picked in ([3, 4001, 7], [4002, 4003], [4000]):
        assert draws(pa.array(["x", *(ids[i] for i in picked)]).slice(1), 0).tolist() == drawn[picked].tolist()
    assert (draws(pa.array(ids), 1) != drawn).all()
    counts = np.bincount((drawn >> np.uint64(60)).astype(int), minlength=16)
    assert counts.min() > 200 and counts.max() < 300


def test_examples_are_the_events_nearest_to_the_centroid() -> None:
    table = make_lopsided_events(12, 400, 0)
    _, nodes, paths = fit(Cluster(branching=4, min_leaf=10), table)
    ordered = table.sort_by("id")
    ids, vectors = ordered["id"].to_pylist(), np.array(ordered["vector"].to_pylist())
    for row in nodes.to_pylist():
        inside = [i for i, leaf in enumerate(paths) if not row["path"] or f"{leaf}.".startswith(f"{row['path']}.")]
        distance = ((vectors[inside] - np.array(row["centroid"])) ** 2).sum(axis=1)
        nearest = sorted(zip(distance.tolist(), (ids[i] for i in inside), strict=True))[:3]
        assert row["examples"] == [name for _, name in nearest]
        assert row["fitted"] == row["size"] and row["added"] == 0 and row["added_radius"] == 0


def counted_with(fitted: ClusterPaths, table: pa.Table, added: pa.Table) -> pa.Table:
    counting = Counting(fitted.tree, fitted.tables["clusters"])
    parts = []
    for rows, columns in ((table, ["id", "cluster"]), (added, ["id", "cluster", "vector"])):
        batch = rows.combine_chunks().to_batches()[0]
        parts.append(counting.partial(batch.append_column("cluster", fitted(batch)["cluster"]).select(columns)))
    return counting.finish(reduced(counting, parts))


def test_drift_rises_when_events_come_from_elsewhere() -> None:
    table = make_lopsided_events(40, 2000, 0, 16)
    fitted, nodes, _ = fit(Cluster(branching=4, min_leaf=30), table.slice(0, 1500))
    assert drift(nodes) == 1 and why_due(nodes, fitted.tree.depth) == ""
    alike = counted_with(fitted, table.slice(0, 1500), table.slice(1500))
    foreign = make_lopsided_events(40, 500, 1, 16)
    other = counted_with(fitted, table.slice(0, 1500), foreign)
    assert 0.9 < drift(alike) < 1.2
    assert drift(other) > 1.5
    assert why_due(alike, fitted.tree.depth) == ""
    assert "lie" in why_due(other, fitted.tree.depth) and "500 events added" in why_due(other, fitted.tree.depth)
    assert "3 levels" in why_due(alike, 3)
    root = other.to_pylist()[0]
    assert (root["size"], root["fitted"], root["added"]) == (2000, 1500, 500)
    vectors = np.array(foreign["vector"].to_pylist())
    expected = np.sqrt(((vectors - np.array(root["centroid"])) ** 2).sum(axis=1).mean())
    assert root["added_radius"] == pytest.approx(expected, rel=1e-5)
    few = counted_with(fitted, table.slice(0, 1500), foreign.slice(0, 50))
    assert drift(few) > 1.25 and why_due(few, fitted.tree.depth) == "", "too few to fit anew for"


def test_events_that_went_leave_sizes_and_examples() -> None:
    table = make_events(4, 50)
    fitted, nodes, _ = fit(Cluster(branching=4, min_leaf=20), table)
    gone = set(nodes["examples"][1].as_py()[:1])
    left = table.filter(pc.invert(pc.is_in(table["id"], value_set=pa.array(sorted(gone)))))
    batch = left.combine_chunks().to_batches()[0]
    counting = Counting(fitted.tree, nodes)
    after = counting.finish(
        counting.partial(batch.append_column("cluster", fitted(batch)["cluster"]).select(["id", "cluster"]))
    )
    assert after["size"][0].as_py() == 199 and after["fitted"][0].as_py() == 200
    assert not gone & {name for names in after["examples"].to_pylist() for name in names}
    assert after["path"].equals(nodes["path"]) and after["centroid"].equals(nodes["centroid"])


def test_a_leaf_that_takes_all_that_comes_makes_a_new_tree_due() -> None:
    table = make_events(12, 30)
    fitted, nodes, paths = fit(Cluster(branching=16, min_leaf=20), table)
    one = paths.index(paths[0])
    many = table.sort_by("id").take([one] * 900)
    after = counted_with(fitted, table, many)
    assert imbalance(after) > 8 > imbalance(nodes)
    assert "largest leaf" in why_due(after, fitted.tree.depth)


@pytest.mark.parametrize("method", ["flat", "faiss"])
def test_flat_clusters_are_one_level_under_the_root(method: str) -> None:
    if method == "faiss":
        pytest.importorskip("faiss")
    table = make_events(12, 60)
    fitted, nodes, paths = fit(Cluster(method=method, clusters=12), table)
    assert fitted.tree.depth == 1 and sorted(set(paths), key=int) == [str(i) for i in range(12)]
    assert set(nodes["parent"].to_pylist()) == {""} and len(nodes) == 13
    groups = table.sort_by("id")["group"].to_pylist()
    assert len(set(zip(paths, groups, strict=True))) <= 16
    copy = Cluster(method=method, clusters=12).restore(fitted.state, Rows(table), "cpu")
    assert copy(Rows(table).table.combine_chunks().to_batches()[0]).column("cluster").to_pylist() == paths


def test_without_faiss_its_method_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtra, match=r"pip install faiss-cpu.*or use `method: flat`"):
        fit(Cluster(method="faiss", clusters=3), make_events(3, 10))
    with pytest.raises(RecipeError, match="use one of tree, flat, faiss"):
        Cluster(method="fat")
    with pytest.raises(RecipeError, match="at least 2 `clusters`"):
        Cluster(method="flat")
    with pytest.raises(RecipeError, match="none to a tree"):
        Cluster(clusters=5)


@pytest.mark.parametrize(
    ("rows", "expected"), [(1000, 1000), (200_000, 131_072), (262_144, 262_144), (4_194_304, 1 << 20), (10**8, 1 << 20)]
)
def test_how_many_events_are_trained_on_is_bounded(rows: int, expected: int) -> None:
    assert Cluster().trained(rows) == expected


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
    train_on_few(monkeypatch, 1500)
    operator = Cluster(branching=4, min_leaf=50)
    table = make_lopsided_events(40, 4000, 0)
    fitted, _, _ = fit(operator, table)
    batch = table.combine_chunks().to_batches()[0]
    points = vectors_of(batch)[np.argsort(draws(batch["id"], 0))[:1500]]
    leaf_sizes = np.bincount(fitted.tree.descend(points)[-1], minlength=len(fitted.tree.names[-1]))
    assert len(leaf_sizes) > 4 and leaf_sizes.min() >= 50 * 1500 / 4000


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
