"""Words are found in text with and without spaces, and an old index answers until it cannot."""

import pyarrow as pa
import pytest
from indexed_rows import SCHEMA, dataset_of, lower_thresholds, table

from mnemic.dataset import Dataset
from mnemic.dataset.index import bm25, build, build_indexes, built, needs_indexing, search_text
from mnemic.dataset.write import append, write_rows


@pytest.fixture(autouse=True)
def small_thresholds(monkeypatch):
    lower_thresholds(monkeypatch)


@pytest.fixture
def dataset(tmp_path):
    return dataset_of(tmp_path, table(0, 700), table(700, 1400), table(1400, 2000))


UNSPACED = {
    "采购订单自动审批流程。其他内容在这里。": ("采购订单自动审批流程", "审批流程", "订单"),
    "東京都に住んでいます。ベクトル検索エンジンを作る。": ("東京都", "検索", "エンジン"),
    "ภาษาไทยไม่มีการเว้นวรรคระหว่างคำ": ("ภาษาไทย", "ระหว่าง"),
    "ພາສາລາວບໍ່ມີຍະຫວ່າງ": ("ພາສາລາວ",),
    "ភាសាខ្មែរមិនមានចន្លោះ": ("ភាសាខ្មែរ",),
    "မြန်မာစာတွင်နေရာလွတ်မရှိပါ": ("မြန်မာ",),
}


def with_texts(texts: list[str], start: int = 0) -> pa.Table:
    rows = table(start, start + len(texts))
    return rows.set_column(rows.column_names.index("text"), "text", pa.array(texts, pa.large_string()))


def texts_found(dataset: Dataset, query: str) -> list[str]:
    snapshot = dataset.require()
    texts = dict(
        zip(snapshot.table(["id"])["id"].to_pylist(), snapshot.table(["text"])["text"].to_pylist(), strict=True)
    )
    return [texts[one] for one in search_text(snapshot, "text", "id", query, 5, None)["id"].to_pylist()]


def test_words_are_found_inside_runs_that_are_written_without_spaces(tmp_path):
    dataset = dataset_of(tmp_path, with_texts([*UNSPACED, "The approval of orders.", "Nothing of it."]))
    build_indexes(dataset)
    assert built(dataset.require())["text"].tokenizer == bm25.UNSPACED
    for text, words in UNSPACED.items():
        for word in words:
            assert texts_found(dataset, word)[:1] == [text], word
    assert texts_found(dataset, "approve order") == ["The approval of orders."]


def test_an_index_of_spaced_text_is_what_it_was(dataset):
    """Its tokenizer, and so the scores of every query, are those of before there was another one."""
    build_indexes(dataset)
    assert built(dataset.require())["text"].tokenizer == bm25.SPACED
    append(dataset, write_rows(dataset.uri, table(5000, 5100), SCHEMA), {})
    before = built(dataset.require())["text"].segments
    build_indexes(dataset)
    assert set(before) < set(built(dataset.require())["text"].segments), "a segment was added, and nothing made anew"


def test_an_old_index_answers_until_rows_come_that_it_cuts_wrongly(tmp_path, monkeypatch):
    whole, inner = "采购订单自动审批流程", "审批流程"
    dataset = dataset_of(tmp_path, with_texts([f"{whole}。", "The approval of orders."]))
    with monkeypatch.context() as before:
        before.setattr(build, "tokenizer", lambda *_: bm25.SPACED)
        build_indexes(dataset)
    assert texts_found(dataset, whole) == [f"{whole}。"] and texts_found(dataset, inner) == []
    append(dataset, write_rows(dataset.uri, with_texts(["More orders."], 10), SCHEMA), {})
    build_indexes(dataset)
    assert built(dataset.require())["text"].tokenizer == bm25.SPACED and texts_found(dataset, whole) == [f"{whole}。"]
    append(dataset, write_rows(dataset.uri, with_texts(["订单审批流程"], 20), SCHEMA), {})
    build_indexes(dataset)
    assert not needs_indexing(dataset.require())
    assert set(texts_found(dataset, inner)) == {f"{whole}。", "订单审批流程"}
    assert len(texts_found(dataset, "orders")) == 2
