"""The split against its definition, and what must not change it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from mnemic.ids import unit_draw
from operators import split
from operators.deduplicate.lookup import ColumnById
from operators.split import HELD_OUT, Split, StoredShingles

Document = tuple[str, str, str]  # id, collection, text
SMALL = Split(tokens=600, held_out_tokens=300, max_document_tokens=40, min_characters=20)


class Rows:
    def __init__(self, documents: Sequence[Document], batch: int = 8192) -> None:
        ids, collections, texts = zip(*documents, strict=True) if documents else ((), (), ())
        self.batch = batch
        self.table = pa.table(
            {
                "id": pa.array(ids, pa.string()),
                "collection": pa.array(collections, pa.string()),
                "length": pa.array([len(text) for text in texts], pa.int64()),
                "text": pa.array(texts, pa.large_string()),
            }
        )

    def __len__(self) -> int:
        return len(self.table)

    def batches(self, columns: Sequence[str], size: int = 8192) -> Iterator[pa.RecordBatch]:
        assert "text" not in columns, "the texts of a corpus are never read together"
        yield from self.table.select(list(columns)).to_batches(self.batch)

    def take(self, positions: Sequence[int], columns: Sequence[str]) -> pa.Table:
        return self.table.select(list(columns)).take(pa.array(positions, pa.int64()))


def fit(operator: Split, documents: Sequence[Document], batch: int = 8192) -> ColumnById:
    return operator.fit(Rows(documents, batch), "cpu", lambda done, total: None)


def splits(fitted: ColumnById, documents: Sequence[Document]) -> dict[str, str]:
    ids = [document[0] for document in documents]
    batch = fitted(pa.record_batch({"id": pa.array(ids, pa.string())}))
    assert batch.schema == Split().output(pa.schema([]))
    return dict(zip(ids, batch.column("split").to_pylist(), strict=True))


def documents_of(seed: int, count: int, collections: int) -> list[Document]:
    """Random documents; a third share much of their text with an earlier one, a few are too short to use."""
    generator = np.random.default_rng(seed)
    documents: list[Document] = []
    for i in range(count):
        words = [f"w{w}" for w in generator.integers(0, 500, generator.integers(5, 60))]
        if documents and generator.random() < 0.35:
            words = documents[generator.integers(len(documents))][2].split()
            words = [*words[: int(generator.integers(len(words) // 2, len(words) + 1))], f"own{i}"]
        if generator.random() < 0.05:
            words = words[:3]
        documents.append((f"{generator.integers(10**9):09d}", f"c{generator.integers(collections)}", " ".join(words)))
    return sorted(documents)


def shingles(operator: Split, text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text[: 4 * operator.max_document_tokens].lower())
    return set(zip(*(words[k:] for k in range(operator.ngram)), strict=False))


def definition(operator: Split, documents: Sequence[Document]) -> dict[str, str]:
    """The rule, document by document."""
    usable = [d for d in documents if len(d[2]) >= operator.min_characters and shingles(operator, d[2])]
    names = {d[1] for d in documents if d[1] and len(d[2]) >= operator.min_characters}
    draws = {name: unit_draw(operator.seed, "collection", name) for name in names}
    held_out = {name for name in names if draws[name] < 0.2} or {min(draws, key=lambda name: draws[name], default="")}
    if len(names) < 5:
        held_out = set()
    queues: dict[str, list[Document]] = {part: [] for part in ("store", *HELD_OUT)}
    for document in sorted(usable, key=lambda d: unit_draw(operator.seed, "order", d[0])):
        purpose = "validation" if unit_draw(operator.seed, "validation", document[0]) < 1 / 3 else "test"
        if document[1] in held_out:
            queues[f"{purpose}-collection"].append(document)
        elif unit_draw(operator.seed, "document", document[0]) < 0.2:
            queues[f"{purpose}-document"].append(document)
        else:
            queues["store"].append(document)
    result = {document[0]: "" for document in documents}
    stored: list[set[tuple[str, ...]]] = []
    for part, queue in queues.items():
        budget = Fraction(operator.held_out_tokens, 2) * Fraction(1 if "validation" in part else 2, 3)
        budget = Fraction(operator.tokens) if part == "store" else budget
        tokens = 0
        for document in queue:
            if tokens >= budget:
                break
            own = shingles(operator, document[2])
            if part == "store":
                stored.append(own)
            elif any(len(own & other) / len(own | other) >= operator.held_out_similarity for other in stored):
                continue
            result[document[0]] = part
            tokens += (min(len(document[2]), 4 * operator.max_document_tokens) + 3) // 4
    return result


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("collections", [1, 4, 5, 12])
@pytest.mark.parametrize("fewest", [1, 20, split.FEWEST_DRAWN])
def test_split_is_that_of_the_definition(
    seed: int, collections: int, fewest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split, "FEWEST_DRAWN", fewest)
    documents = documents_of(seed, 200, collections)
    operator = Split(600, 300, 40, 20, seed=seed)
    split_of = splits(fit(operator, documents), documents)
    assert split_of == definition(operator, documents)
    assert any(part.endswith("collection") for part in split_of.values()) == (collections >= 5)


@pytest.mark.parametrize("names", [(), ("b", "c"), ("a", "b")])
def test_a_corpus_is_read_twice_only_where_the_guess_about_its_collections_is_wrong(names: tuple[str, ...]) -> None:
    rows, passes = Rows([(i, names[int(i) % 2] if names else "", t) for i, _, t in documents_of(6, 80, 1)]), []
    batches = rows.batches
    rows.batches = lambda columns: passes.append(columns) or batches(columns)
    SMALL.fit(rows, "cpu", lambda done, total: None)
    assert len(passes) == 1 + any(unit_draw(SMALL.seed, "collection", name) < 0.2 for name in names)


@settings(max_examples=15)
@given(st.integers(0, 3), st.randoms(use_true_random=False), st.integers(1, 50))
def test_order_and_batches_do_not_matter(seed: int, random: Any, batch: int) -> None:
    documents = documents_of(seed, 120, 8)
    shuffled = list(documents)
    random.shuffle(shuffled)
    expected, shuffled_fit = fit(SMALL, documents), fit(SMALL, shuffled, batch)
    assert splits(shuffled_fit, documents) == splits(expected, documents)
    assert shuffled_fit.summary == expected.summary


def test_documents_that_cannot_be_used_change_nothing() -> None:
    documents = documents_of(1, 150, 4)
    more = [(f"s{i}", f"new{i}", "too short") for i in range(20)]
    few_words = [(f"t{i}", f"c{i % 4}", "x" * 30 + f" {i}") for i in range(20)]
    split_of = splits(fit(SMALL, documents + more + few_words), documents + more + few_words)
    assert {i: split_of[i] for i, _, _ in documents} == splits(fit(SMALL, documents), documents)
    assert {split_of[i] for i, _, _ in more + few_words} == {""}


def test_documents_drawn_after_the_budget_change_nothing() -> None:
    documents = documents_of(2, 300, 3)
    split_of = splits(fit(SMALL, documents), documents)
    used = {i for i, part in split_of.items() if part}
    last = max(unit_draw(0, "order", i) for i in used)
    after = [d for d in documents if d[0] not in used and unit_draw(0, "order", d[0]) > last]
    assert after
    fewer = [d for d in documents if d not in after]
    assert splits(fit(SMALL, fewer), fewer) == {d[0]: split_of[d[0]] for d in fewer}


def test_parts_fill_to_their_budgets_and_the_summary_counts_them() -> None:
    documents = documents_of(3, 1500, 30)
    fitted = fit(Split(9000, 300, 40, 20), documents)
    split_of = splits(fitted, documents)
    largest = SMALL.max_document_tokens
    budgets = {"store": 9000, "validation-document": 50, "test-document": 100}
    budgets |= {"validation-collection": 50, "test-collection": 100}
    assert fitted.summary.keys() == budgets.keys()
    for part, budget in budgets.items():
        tokens = sum((min(len(t), 4 * largest) + 3) // 4 for i, _, t in documents if split_of[i] == part)
        assert budget <= tokens < budget + largest
        assert fitted.summary[part]["tokens"] == tokens
        assert fitted.summary[part]["documents"] == sum(value == part for value in split_of.values())
    assert fitted.summary["store"]["too_similar"] == 0
    assert sum(counts["too_similar"] for counts in fitted.summary.values()) > 0


def test_held_out_collections_are_whole() -> None:
    documents = documents_of(4, 400, 9)
    split_of = splits(fit(Split(10**6, 10**6, min_characters=20), documents), documents)
    kinds: dict[str, set[str]] = {}
    for i, collection, _ in documents:
        if split_of[i]:
            kinds.setdefault(collection, set()).add("collection" if split_of[i].endswith("collection") else "other")
    assert all(len(kind) == 1 for kind in kinds.values())
    assert {"collection"} in kinds.values() and {"other"} in kinds.values()


def test_documents_without_a_collection_are_never_held_out_as_one() -> None:
    documents = [(i, "", text) for i, _, text in documents_of(5, 200, 1)]
    split_of = splits(fit(SMALL, documents), documents)
    assert set(split_of.values()) <= {"", "store", "validation-document", "test-document"}


def test_a_copy_of_a_stored_document_is_not_held_out() -> None:
    text = " ".join(f"w{j}" for j in range(40))
    names = [f"{i:03d}" for i in range(60)]
    held_out = [i for i in names if unit_draw(0, "document", i) < 0.2]
    documents = [(i, "", f"{text} own{i}") for i in names]
    fitted = fit(Split(10**6, 10**6, min_characters=20), documents)
    split_of = splits(fitted, documents)
    assert held_out and {split_of[i] for i in held_out} == {""}
    assert {part for i, part in split_of.items() if i not in held_out} == {"store"}
    assert sum(counts["too_similar"] for counts in fitted.summary.values()) == len(held_out)


def test_only_the_part_that_is_read_counts() -> None:
    """What lies behind max_document_tokens makes neither a document similar nor the part full."""
    tail = " ".join(f"same{j}" for j in range(500))
    names = [f"{i:03d}" for i in range(60)]
    documents = [(i, "", " ".join(f"own{i}x{j}" for j in range(30)) + " " + tail) for i in names]
    operator = Split(10**6, 10**6, max_document_tokens=40, min_characters=20)
    fitted = fit(operator, documents)
    assert "" not in splits(fitted, documents).values()
    assert sum(counts["tokens"] for counts in fitted.summary.values()) == 60 * 40


def test_highest_similarity_is_exact() -> None:
    generator = np.random.default_rng(0)
    sets = [np.unique(generator.integers(0, 60, size).astype(np.uint64)) for size in (0, 3, 20, 60, 200)]
    stored = StoredShingles(sets)
    for _ in range(20):
        own = np.unique(generator.integers(0, 90, 30).astype(np.uint64))
        expected = max(len({*own.tolist()} & {*s.tolist()}) / len({*own.tolist()} | {*s.tolist()}) for s in sets)
        assert stored.highest_similarity(own) == expected
    assert StoredShingles([]).highest_similarity(sets[2]) == 0.0


def test_empty_corpus() -> None:
    fitted = fit(Split(), [])
    assert splits(fitted, []) == {}
    assert fitted.summary["store"] == {"documents": 0, "tokens": 0, "too_similar": 0}


def test_impossible_fields_are_refused() -> None:
    with pytest.raises(RecipeError, match="tokens is 0; give a number of at least 1"):
        Split(tokens=0)
    with pytest.raises(RecipeError, match=r"such as 0\.5"):
        Split(held_out_similarity=0.0)
