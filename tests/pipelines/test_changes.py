"""What changes between builds: corrected facts, sources that dry up, steps that leave the recipe, limits that hold."""

import json
import shutil

import pyarrow as pa
import pytest
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.dataset import Store
from mnemic.dataset.write import append, write_rows
from mnemic.errors import SourceError, TooManyRejects
from pipelines.corpus_reader import corpus_digest, key_hashes
from pipelines.plan import plan
from pipelines.run import build

TEXT = "The parser reads a table of tokens. It was decided in spring that it keeps the comments. Nobody objected."


@pytest.fixture
def corpus(tmp_path):
    place = tmp_path / "corpus"
    place.mkdir()
    return place


@pytest.fixture
def recipe(tmp_path, corpus):
    """Without a language model: a build takes a second."""
    full = tiny_recipe(tmp_path, corpus)
    return {name: full[name] for name in ("name", "bank", "sources", "embed", "cluster")}


def dated(place, text, when) -> None:
    place.write_text(json.dumps({"text": text, "when": when}) + "\n")


def as_built_at_once(recipe, tmp_path):
    fresh = {**recipe, "bank": str(tmp_path / "fresh")}
    shutil.rmtree(fresh["bank"], ignore_errors=True)
    build(fresh, device="cpu")
    return mnemic.open_bank(fresh["bank"]).digest()


def test_a_corrected_date_reaches_everything_made_of_the_document(recipe, corpus, tmp_path):
    """Of two equal texts the earlier is kept: with another date the other one is, and never neither."""
    dated(corpus / "a.jsonl", TEXT, "2020-01-01T00:00:00Z")
    dated(corpus / "b.jsonl", TEXT, "2021-01-01T00:00:00Z")
    build(recipe, device="cpu")
    dated(corpus / "a.jsonl", TEXT, "2022-01-01T00:00:00Z")
    build(recipe, device="cpu", recluster=True)
    bank = mnemic.open_bank(recipe["bank"])
    standing = bank.table("documents", ["locator", "duplicate_of"], "duplicate_of = ''")["locator"].to_pylist()
    assert [locator.partition("#")[0] for locator in standing] == ["b.jsonl"]
    assert {time.year for time in bank.table("events", ["start_time"])["start_time"].to_pylist()} == {2021}
    assert bank.digest() == as_built_at_once(recipe, tmp_path)


def test_too_many_rejects_stay_too_many(recipe, corpus):
    for number in range(40):
        (corpus / f"{number}.txt").write_text(f"Document {number} tells of tables. {TEXT}")
    for number in range(20):
        (corpus / f"bad-{number}.txt").write_bytes(b"caf\xe9")
    for _ in range(2):
        with pytest.raises(TooManyRejects, match=r"rejected 20 of 60 inputs, more than the share of 0\.1"):
            build(recipe, device="cpu")
    assert build({**recipe, "max_rejects": 0.5}, device="cpu").release is not None


def test_a_source_of_which_nothing_is_readable_says_so_each_time(recipe, corpus):
    (corpus / "bad.txt").write_bytes(b"caf\xe9")
    for _ in range(2):
        with pytest.raises(SourceError, match="No document could be read from folder: 1 inputs were left out"):
            build(recipe, device="cpu")


def test_a_corpus_that_shrinks_leaves_nothing_behind(recipe, corpus, tmp_path):
    write_corpus(corpus)
    build(recipe, device="cpu")
    shutil.rmtree(corpus)
    corpus.mkdir()
    (corpus / "only.txt").write_text("Word.")
    build(recipe, device="cpu", recluster=True)
    assert mnemic.open_bank(recipe["bank"]).digest() == as_built_at_once(recipe, tmp_path)


def test_what_a_recipe_no_longer_makes_is_no_longer_released(tiny, tmp_path):
    full = tiny.copy(tmp_path)
    without = {name: value for name, value in full.items() if name not in ("language_model", "split", "datastore")}
    result = build(without, device="cpu")
    assert "memories" not in result.release.versions and "datastore" not in result.release.versions
    assert plan(without).nothing_to_do


def test_a_store_that_runs_empty_has_no_memory(tiny, tmp_path):
    full, corpus = tiny.copy_with_corpus(tmp_path)
    shutil.rmtree(corpus)
    corpus.mkdir()
    (corpus / "only.txt").write_text("Too short to be learned from.")
    build(full, device="cpu")
    bank = mnemic.open_bank(full["bank"])
    assert bank.memories() == []
    assert plan(full).nothing_to_do
    assert mnemic.evaluate(bank).perplexities == ()


def test_the_log_tells_every_fragment_and_commit(recipe, corpus):
    write_corpus(corpus)
    events = []
    build(recipe, device="cpu", sinks=[events.append])
    computed = {(event.step, event.fragment) for event in events if event.kind == "fragment"}
    assert {step for step, _ in computed} >= {"signature", "deduplicate", "units", "embed", "segment", "cluster"}
    assert all(fragment is not None for _, fragment in computed)
    assert {event.step for event in events if event.kind == "commit"} >= {"read", "units", "embed"}


def test_lineage_knows_what_a_corpus_step_found(tiny):
    lineage = tiny.open().release.lineage
    assert lineage["deduplicate"]["found"]["exact"] == 2
    assert lineage["teacher"]["found"]["temperature"] > 0
    assert lineage["cluster"]["found"]["leaves"] > 1


def test_the_digest_of_a_corpus_depends_on_its_rows_alone(tmp_path):
    rows = [("a", "store"), ("b", None), ("a long key that takes three blocks", "store"), ("c", "")]
    digests = set()
    for name, order, size in (("one", [0, 1, 2, 3], 4), ("two", [3, 2, 1, 0], 1), ("three", [1, 3, 0, 2], 2)):
        dataset = Store(tmp_path)[name]
        picked = [rows[index] for index in order]
        table = pa.table({"key": [key for key, _ in picked], "split": [split for _, split in picked]})
        dataset.create(table.schema, {}, {})
        for start in range(0, len(table), size):
            append(dataset, write_rows(dataset.uri, table.slice(start, size), table.schema), {})
        digests.add(corpus_digest(dataset.require(), ("key", "split")))
    assert len(digests) == 1
    assert digests.pop()[1] == 4


def test_null_is_neither_an_empty_text_nor_zero():
    texts, numbers = pa.array(["", None, "a"], pa.string()), pa.array([0, None, 1], pa.int64())
    for column in (texts, numbers):
        batch = pa.record_batch({"key": pa.array(["k"] * 3), "column": column})
        assert len({tuple(row) for row in key_hashes(batch).tolist()}) == 3
    assert (
        key_hashes(pa.record_batch({"a": texts}))[[0, 2]]
        == key_hashes(pa.record_batch({"a": texts.fill_null("")}))[[0, 2]]
    ).all()
