"""Texts that an earlier release has encoded are not encoded again, and the bank is what a fresh build makes."""

import re
import shutil

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_bank import TinyBank

import mnemic
from mnemic.dataset import Store
from mnemic.dataset.write import append, write_rows
from mnemic.encoder import TextEncoder
from mnemic.vectors import column
from pipelines.engine import choose_engine
from pipelines.run import build
from pipelines.steps import embedding
from pipelines.steps.embedding import EarlierRows, text_hashes


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return TinyBank.build(tmp_path_factory.mktemp("built"), ("name", "bank", "sources", "embed", "cluster"))


@pytest.fixture(scope="module")
def texts(built):
    """Of every unit of that bank."""
    return built.open().table("units", ["text"])["text"].to_pylist()


@pytest.fixture
def copied(built, tmp_path):
    return built.copy_with_corpus(tmp_path)


@pytest.fixture
def recipe(copied):
    """Of a copy of the bank."""
    return copied[0]


@pytest.fixture
def corpus(copied):
    return copied[1]


@pytest.fixture
def encoded(monkeypatch):
    """The texts that went through the encoder, in this process."""
    texts: list[str] = []
    encode = TextEncoder.encode

    def counting(self, batches_of):
        texts.extend(batches_of)
        return encode(self, batches_of)

    monkeypatch.setattr(TextEncoder, "encode", counting)
    return texts


def as_built_at_once(recipe, tmp_path):
    fresh = {**recipe, "bank": str(tmp_path / "fresh")}
    shutil.rmtree(fresh["bank"], ignore_errors=True)
    build(fresh, device="cpu", engine="inline")
    return mnemic.open_bank(fresh["bank"]).digest()


def counted(events):
    """(rows computed, rows reused) as the log of the embedding step tells them."""
    fragments = [event for event in events if event.kind == "fragment" and event.step == "embed"]
    reused = sum(int(re.search(r"reused ([\d,]+)", event.message)[1]) for event in fragments if event.message)
    return sum(event.done for event in fragments) - reused, reused


def test_of_an_edited_document_only_the_changed_sentence_is_encoded(recipe, corpus, tmp_path, encoded):
    path = corpus / "alpha" / "006.txt"
    sentences = path.read_text().split(". ")
    assert len(sentences) > 4
    sentences[2] = "This one is new"
    path.write_text(". ".join(sentences))
    events = []
    build(recipe, device="cpu", recluster=True, sinks=[events.append])
    assert encoded == ["This one is new."]
    assert counted(events) == (1, len(sentences) - 1)
    assert mnemic.open_bank(recipe["bank"]).digest() == as_built_at_once(recipe, tmp_path)


def test_moved_documents_load_no_model(recipe, corpus, tmp_path, encoded, monkeypatch):
    (corpus / "alpha").rename(corpus / "omega")
    monkeypatch.setattr(TextEncoder, "load", None)
    build(recipe, device="cpu", recluster=True)
    monkeypatch.undo()
    assert mnemic.open_bank(recipe["bank"]).digest() == as_built_at_once(recipe, tmp_path)


def test_units_cut_by_other_settings_take_the_vectors_of_their_texts(recipe, texts, tmp_path, encoded):
    events = []
    changed = {**recipe, "units": {"min_characters": 45}}
    build(changed, device="cpu", sinks=[events.append])
    assert encoded and not {*texts} & {*encoded}
    assert counted(events)[1] > 20
    assert mnemic.open_bank(recipe["bank"]).digest() == as_built_at_once(changed, tmp_path)


SLOW_SETTINGS = ({"pooling": "cls"}, {"max_tokens": 8})
SETTINGS = [{"prompt": "passage: "}, *(pytest.param(one, marks=pytest.mark.slow) for one in SLOW_SETTINGS)]


@pytest.mark.parametrize("setting", SETTINGS)
def test_vectors_of_other_settings_are_not_taken(recipe, texts, tmp_path, encoded, setting):
    changed = {**recipe, "embed": {**recipe["embed"], **setting}}
    build(changed, device="cpu")
    assert len(encoded) == len(texts) > 100
    assert mnemic.open_bank(recipe["bank"]).digest() == as_built_at_once(changed, tmp_path)


def test_another_prompt_for_questions_costs_nothing(recipe, encoded):
    build({**recipe, "embed": {**recipe["embed"], "query_prompt": "query: "}}, device="cpu")
    assert encoded == []


@pytest.mark.slow
def test_workers_of_ray_look_up_their_own_fragments(recipe, corpus, tmp_path):
    for path in [*corpus.glob("epsilon/*.txt"), *corpus.glob("zeta/*.txt")]:
        path.write_text(path.read_text() + " Appended to " + path.stem + ".")
    events = []
    build(recipe, device="cpu", engine=choose_engine("ray", workers=2), recluster=True, sinks=[events.append])
    computed, reused = counted(events)
    assert 5 < computed < 20 < reused
    assert mnemic.open_bank(recipe["bank"]).digest() == as_built_at_once(recipe, tmp_path)


def test_the_column_says_which_model_made_it(recipe):
    record = mnemic.open_bank(recipe["bank"]).dataset("units").column_record("embedding")
    assert record["fields"]["pooling"] == "mean" and record["fields"]["max_tokens"] == 256
    assert len(record["fields"]["model"]) == 32
    assert record["found"] == {
        "model": recipe["embed"]["model"],
        "revision": "",
        "dimension": 32,
        "query_prompt": "",
    }


def rows(texts, start=0):
    numbers = np.arange(start, start + len(texts), dtype=np.int64)
    return pa.table({"text": pa.array(texts, pa.large_string()), "number": numbers})


@given(st.lists(st.text(max_size=12), max_size=40), st.lists(st.text(max_size=12), max_size=40))
@settings(max_examples=60)
def test_hashes_are_of_the_text_alone(some, others):
    both = pa.array(some + others, pa.large_string())
    hashes = text_hashes(both)
    assert np.array_equal(text_hashes(both.slice(len(some))), hashes[len(some) :])
    assert len(np.unique(hashes)) == len(set(some + others))


def test_earlier_rows_are_found_by_their_text(tmp_path):
    dataset = Store(tmp_path)["units"]
    dataset.create(rows([]).schema, {}, {})
    for start, texts in ((0, ["a", "b", "a", ""]), (4, ["c" * 5000, "d", "é"])):
        append(dataset, write_rows(dataset.uri, rows(texts, start), rows([]).schema), {})
    column = pa.array(["d", "x", "a", "", "d", "c" * 5000, "e"], pa.large_string())
    batches = pa.table({"text": column}).to_batches(max_chunksize=2)
    place, columns = EarlierRows(dataset.require(), ["number"], batches).of(column)
    numbers = [None if index < 0 else columns["number"][int(index)].as_py() for index in place]
    assert numbers[1] is numbers[6] is None
    assert [numbers[0], numbers[4], numbers[3], numbers[5]] == [5, 5, 3, 4]
    assert numbers[2] in (0, 2)


def test_texts_of_one_hash_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "text_hashes", lambda texts: np.zeros(len(texts), np.uint64))
    dataset = Store(tmp_path)["units"]
    dataset.create(rows([]).schema, {}, {})
    append(dataset, write_rows(dataset.uri, rows(["a", "b"]), rows([]).schema), {})
    column = pa.array(["b", "a", "c"], pa.large_string())
    batches = pa.table({"text": column}).to_batches()
    place, stored = EarlierRows(dataset.require(), ["number"], batches).of(column)
    assert place.tolist() == [-1, 0, -1]
    assert stored["number"].to_pylist() == [0]


def test_vectors_without_a_direction_are_not_reused(tmp_path):
    dataset = Store(tmp_path)["units"]
    schema = pa.schema([("text", pa.large_string()), ("embedding", pa.list_(pa.float16(), 2))])
    values = np.array([[1, 0], [np.nan, 0], [0, 0], [0, 1], [np.inf, 0]], np.float16)
    table = pa.table({"text": pa.array(list("abcde"), pa.large_string()), "embedding": column(values)}, schema=schema)
    dataset.create(schema, {}, {})
    append(dataset, write_rows(dataset.uri, table, schema), {})
    texts = pa.array(list("edcba"), pa.large_string())
    place, _ = EarlierRows(dataset.require(), ["embedding"], pa.table({"text": texts}).to_batches()).of(texts)
    assert (place >= 0).tolist() == [False, True, False, False, True]
