"""Deduplication of a corpus against its definition: all pairs compared, greedy in rank order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError, StepError
from mnemic.ids import content_hash
from mnemic.schema import PAIRS, TIME
from operators.deduplicate import Deduplicate, Signature, operator, resolve
from operators.deduplicate.lookup import ColumnById


class Rows:
    """A corpus in memory that counts what is read from it. ``before`` is what an earlier release decided, by id."""

    def __init__(self, table: pa.Table, batch: int = 8192, before: dict[str, str] | None = None) -> None:
        self.table, self.batch, self.before, self.texts_taken = table, batch, before, 0

    def __len__(self) -> int:
        return len(self.table)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        assert "text" not in columns, "the texts of a corpus are never read together"
        start = 1000
        for batch in self.table.select(list(columns)).combine_chunks().to_batches(self.batch):
            yield np.arange(start, start + len(batch), dtype=np.uint64), batch
            start += len(batch)

    def take_rows(self, numbers: np.ndarray, columns: Sequence[str]) -> pa.Table:
        self.texts_taken += len(numbers) * ("text" in columns)
        return self.table.select(list(columns)).take(pa.array(np.asarray(numbers, np.int64) - 1000))

    def dropped(self, numbers: np.ndarray) -> np.ndarray:
        return np.zeros(len(numbers), np.bool_)

    def earlier(self, numbers: np.ndarray) -> pa.Array | None:
        if self.before is None:
            return None
        ids = self.take_rows(numbers, ["id"])["id"].to_pylist()
        return pa.array([self.before.get(i) for i in ids], pa.string())


@pytest.fixture
def every_pair(monkeypatch: pytest.MonkeyPatch) -> Deduplicate:
    """One that compares all pairs that share anything."""
    monkeypatch.setattr(resolve, "least_agreeing", lambda threshold, size: 0)
    monkeypatch.setattr(operator, "least_shared", lambda threshold, bands, rows: 1)
    return Deduplicate(bands=62, rows=1)


def corpus(
    texts: dict[str, str],
    times: dict[str, datetime] | None = None,
    batch: int = 8192,
    tenants: dict[str, str] | None = None,
    before: dict[str, str] | None = None,
) -> Rows:
    """Documents by id, in the order given, with their signatures."""
    ids = list(texts)
    rows = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "tenant": pa.array([(tenants or {}).get(i, "") for i in ids], pa.string()),
            "content": pa.array([content_hash(texts[i]) for i in ids], pa.string()),
            "locator": pa.array([f"folder/{i}.txt" for i in ids], pa.string()),
            "time": pa.array([(times or {}).get(i) for i in ids], TIME),
            "length": pa.array([len(texts[i]) for i in ids], pa.int64()),
            "text": pa.array([texts[i] for i in ids], pa.large_string()),
        }
    )
    signed, _ = Signature().open("cpu")(pa.record_batch({"text": rows.column("text").combine_chunks()}))
    for name in signed.schema.names:
        rows = rows.append_column(name, signed.column(name))
    return Rows(rows, batch, before)


def fit(operator: Deduplicate, rows: Rows) -> ColumnById:
    return operator.fit(rows, "cpu", lambda done, total: None)


def duplicates(fitted: ColumnById, rows: Rows) -> dict[str, str]:
    """Dropped documents and what they duplicate."""
    ids = rows.table.column("id").combine_chunks()
    column = fitted(pa.record_batch({"id": ids})).column("duplicate_of")
    return {i: original for i, original in zip(ids.to_pylist(), column.to_pylist(), strict=True) if original}


def similarity(one: str, other: str, n: int = 5) -> float:
    sets = []
    for text in (one, other):
        words = re.findall(r"\w+", unicodedata.normalize("NFC", text).lower())
        sets.append(set(zip(*(words[k:] for k in range(n)), strict=False)))
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1]) if sets[0] | sets[1] else 0.0


def form(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def brute_force(texts: dict[str, str], threshold: float) -> dict[str, str]:
    """The definition: documents in rank order, each against all kept ones; exact copies follow their first."""
    ranked = sorted(texts, key=lambda i: (-len(texts[i]), content_hash(texts[i]), i))
    first: dict[str, str] = {}
    keeper: dict[str, str] = {}
    standing: list[str] = []
    for i in ranked:
        if form(texts[i]) in first:
            keeper[i] = keeper.get(first[form(texts[i])], first[form(texts[i])])
            continue
        first[form(texts[i])] = i
        score, _, best = max(
            ((similarity(texts[i], texts[k]), -p, k) for p, k in enumerate(standing)), default=(0.0, 0, "")
        )
        if score >= threshold:
            keeper[i] = best
        else:
            standing.append(i)
    return keeper


def planted(seed: int, families: int, members: int = 5) -> dict[str, str]:
    """Families of a random document, edited copies of it, copies of those, exact copies, and some short texts."""
    generator = np.random.default_rng(seed)
    texts: dict[str, str] = {}
    for _ in range(families):
        versions = [[f"w{w}" for w in generator.integers(0, 400, generator.integers(30, 150))]]
        for _ in range(members - 1):
            words = list(versions[generator.integers(len(versions))])
            for place in generator.integers(0, len(words), generator.integers(0, 4)):
                words[place] = f"new{generator.integers(50)}"
            versions.append(words[: len(words) - int(generator.integers(0, 3))])
        for words in versions:
            texts[f"d{generator.integers(10**12):012d}"] = " ".join(words)
    for text in ("", "see also", "See  also", "hello world", "one two three four"):
        texts[f"d{generator.integers(10**12):012d}"] = text
    return {i: texts[i] for i in sorted(texts)}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_equals_brute_force_where_every_similar_pair_is_a_candidate(
    seed: int, threshold: float, every_pair: Deduplicate
) -> None:
    texts = planted(seed, families=8)
    rows = corpus(texts)
    fitted = fit(replace(every_pair, threshold=threshold), rows)
    expected, duplicate_of = brute_force(texts, threshold), duplicates(fitted, rows)
    assert duplicate_of.keys() == expected.keys()
    assert all(
        form(texts[i]) == form(texts[original]) or similarity(texts[i], texts[original]) >= threshold
        for i, original in duplicate_of.items()
        if not any(form(texts[i]) == form(texts[j]) for j in expected if j != i)
    )
    assert expected and fitted.summary["kept"] == len(texts) - len(expected)
    assert fitted.summary["exact"] + fitted.summary["near"] == len(expected)


def test_default_shape_finds_similar_pairs() -> None:
    texts = planted(9, families=60)
    rows = corpus(texts)
    duplicate_of = duplicates(fit(Deduplicate(), rows), rows)
    expected = brute_force(texts, 0.85)
    assert len(expected) > 80
    assert len(expected.keys() & duplicate_of.keys()) >= 0.95 * len(expected)


def test_every_removal_is_a_judged_pair_with_its_exact_similarity() -> None:
    texts = planted(3, families=12)
    rows = corpus(texts)
    fitted = fit(Deduplicate(), rows)
    table = fitted.tables["pairs"]
    assert table.schema == PAIRS
    keys = list(zip(table["document"].to_pylist(), table["other"].to_pylist(), strict=True))
    assert keys == sorted(set(keys))
    removed = duplicates(fitted, rows)
    for row in table.to_pylist():
        one, other = texts[row["document"]], texts[row["other"]]
        if row["rule"] == "exact":
            assert (row["similarity"], row["bands"], row["verdict"]) == (1.0, 0, "duplicate")
        else:
            assert row["rule"] == "jaccard" and 1 <= row["bands"] <= 20
            assert row["similarity"] == similarity(one, other)
            assert row["verdict"] == ("duplicate" if row["similarity"] >= 0.8 else "distinct")
            assert row["other"] not in removed
    assert {row["document"] for row in table.to_pylist() if row["verdict"] == "duplicate"} == removed.keys()
    assert not set(removed.values()) & removed.keys()
    assert {"distinct", "duplicate"} == set(table["verdict"].to_pylist())


@settings(max_examples=12)
@given(st.integers(0, 5), st.randoms(use_true_random=False), st.integers(1, 40))
def test_order_and_batches_do_not_matter(seed: int, random: Any, batch: int) -> None:
    texts = planted(seed, families=4)
    expected = fit(Deduplicate(), corpus(texts))
    ids = list(texts)
    random.shuffle(ids)
    rows = corpus({i: texts[i] for i in ids}, batch=batch)
    shuffled = fit(Deduplicate(), rows)
    assert shuffled.tables["pairs"].equals(expected.tables["pairs"])
    assert duplicates(shuffled, rows) == duplicates(expected, corpus(texts))
    assert shuffled.summary == expected.summary


def test_a_chain_does_not_collapse(every_pair: Deduplicate) -> None:
    words = [f"w{i:03d}" + "x" * (4 if i < 8 else 2 if i < 16 else 0) for i in range(120)]
    texts = {name: " ".join(words[start : start + 100]) for name, start in (("a", 0), ("b", 8), ("c", 16))}
    assert similarity(texts["a"], texts["b"]) >= 0.8 and similarity(texts["b"], texts["c"]) >= 0.8
    assert similarity(texts["a"], texts["c"]) < 0.8
    fitted = fit(every_pair, corpus(texts))
    assert duplicates(fitted, corpus(texts)) == {"b": "a"}
    judged = {(row["document"], row["other"]): row["verdict"] for row in fitted.tables["pairs"].to_pylist()}
    assert judged == {("b", "a"): "duplicate", ("c", "a"): "distinct"}


def test_copies_of_a_dropped_document_point_to_the_kept_one() -> None:
    words = [f"w{i}" for i in range(100)]
    texts = {"kept": " ".join([*words, "longer"]), "near": " ".join(words), "copy": " ".join(words).upper()}
    fitted = fit(Deduplicate(), corpus(texts))
    assert duplicates(fitted, corpus(texts)) == {"near": "kept", "copy": "kept"}
    pairs = {(row["document"], row["other"], row["rule"]) for row in fitted.tables["pairs"].to_pylist()}
    best, worst = sorted(("near", "copy"), key=lambda i: content_hash(texts[i]))
    assert pairs == {(worst, best, "exact"), (best, "kept", "jaccard")}
    counts = {"documents": 3, "kept": 1, "exact": 1, "near": 1, "pairs": 2, "shape": [20, 6]}
    assert fitted.summary == counts


def test_short_and_empty_documents() -> None:
    texts = {
        "empty": "",
        "blank": " \n",
        "seealso": "see also",
        "hello": "hello world",
        "again": "See\u00a0also",
        "dots": "...",
        "four": "one two three four",
    }
    assert duplicates(fit(Deduplicate(), corpus(texts)), corpus(texts)) == {"empty": "blank", "again": "seealso"}


def test_unicode_and_white_space_variants_are_copies() -> None:
    text = "Über die Größe der Bäume im Café, von früher bis später."
    texts = {
        "a": text,
        "b": unicodedata.normalize("NFD", text),
        "c": text.replace(" ", "\u00a0"),
        "d": "\ufeff" + text,
        "e": text.replace(" ", "\r\n  "),
    }
    fitted = fit(Deduplicate(method="exact"), corpus(texts))
    assert len(duplicates(fitted, corpus(texts))) == 4
    assert set(fitted.tables["pairs"]["rule"].to_pylist()) == {"exact"}


def test_the_best_ranked_document_is_kept() -> None:
    early, late = datetime(2001, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)
    same = {"1": "One  two", "2": "one two", "3": "ONE two", "4": "oNE two", "5": "one TWO"}
    times = {"2": late, "3": early}
    dropped = duplicates(fit(Deduplicate(method="exact"), corpus(same, times)), corpus(same))
    assert set(dropped.values()) == {"1"}  # the longest
    del same["1"]
    dropped = duplicates(fit(Deduplicate(method="exact"), corpus(same, times)), corpus(same))
    assert set(dropped.values()) == {"3"}  # the earliest
    for name in ("2", "3"):
        del same[name]
    dropped = duplicates(fit(Deduplicate(method="exact"), corpus(same)), corpus(same))
    assert set(dropped.values()) == {min(same, key=lambda i: content_hash(same[i]))}
    twins = {"8": "one two", "7": "one two"}
    assert duplicates(fit(Deduplicate(method="exact"), corpus(twins)), corpus(twins)) == {"8": "7"}


def test_exact_reads_no_signatures_and_only_texts_of_copies_in_another_form() -> None:
    texts = planted(0, families=2)
    rows = corpus(texts)
    rows.table = rows.table.drop_columns(["signature"])
    expected = {i for i in texts if any(form(texts[i]) == form(texts[j]) for j in texts if j != i)}
    duplicate_of = duplicates(fit(Deduplicate(method="exact"), rows), rows)
    assert duplicate_of and set(duplicate_of) | set(duplicate_of.values()) == expected
    assert rows.texts_taken <= 2 * len(duplicate_of)


def test_texts_are_read_for_candidates_only() -> None:
    texts = planted(1, families=3) | {f"alone{i}": " ".join(f"only{i}word{j}" for j in range(50)) for i in range(100)}
    rows = corpus(texts)
    fit(Deduplicate(), rows)
    assert 0 < rows.texts_taken <= 15


def test_large_bucket_of_near_copies() -> None:
    base = [f"w{i}" for i in range(200)]
    texts = {f"{i:04d}": " ".join([*base, f"tail{i}"]) for i in range(600)}
    rows = corpus(texts)
    fitted = fit(Deduplicate(), rows)
    assert fitted.summary["kept"] == 1
    assert fitted.summary["pairs"] == 599  # each is compared with the kept one alone


def test_empty_corpus() -> None:
    rows = corpus({"only": "one"})
    rows.table = rows.table.slice(0, 0)
    for method in ("exact", "minhash", "lshbloom", "auto"):
        fitted = fit(Deduplicate(method=method), rows)
        assert len(fitted.tables["pairs"]) == 0
        assert len(fitted(pa.record_batch({"id": pa.array([], pa.string())}))) == 0


@pytest.mark.parametrize("column", ["normalised", "signature"])
def test_an_unfinished_signature_step_is_an_error(column: str) -> None:
    rows = corpus({"a": "one", "b": "two"})
    place = rows.table.schema.get_field_index(column)
    empty = pa.nulls(1, rows.table.schema.field(column).type)
    cut = pa.chunked_array([rows.table.column(column).chunk(0).slice(0, 1), empty])
    rows.table = rows.table.set_column(place, column, cut)
    with pytest.raises(StepError, match="run the signature step to its end"):
        fit(Deduplicate(), rows)


def test_impossible_fields_are_refused() -> None:
    for fields, sentence in (
        ({"method": "simhash"}, 'use "auto", "exact"'),
        ({"threshold": 0.0}, "such as 0.8"),
        ({"bands": 0, "rows": 4}, "1 to 62 bands"),
        ({"bands": 63, "rows": 1}, "1 to 62 bands"),
        ({"bands": 20}, "both bands and rows"),
        ({"memory_gb": 0.0}, "give it 1 or more"),
        ({"protected_texts": ("(",)}, "no regular expression"),
        ({"ngram": 0}, "at least 1 word"),
    ):
        with pytest.raises(RecipeError, match=sentence):
            Deduplicate(**fields)
    with pytest.raises(RecipeError, match="132 permutations, but they have 128"):
        fit(Deduplicate(bands=33, rows=4), corpus({"a": "one"}))


def test_tenants_are_deduplicated_each_by_itself() -> None:
    """What was said twice, exactly or nearly, is kept once for each of those who said it."""
    texts = planted(3, families=4)
    both = {f"{tenant}-{i}": text for tenant in ("one", "two") for i, text in texts.items()}
    tenants = {name: name.partition("-")[0] for name in both}
    alone = duplicates(fit(Deduplicate(), corpus(texts)), corpus(texts))
    fitted = fit(Deduplicate(), corpus(both, tenants=tenants))
    duplicate_of = duplicates(fitted, corpus(both, tenants=tenants))
    assert alone and len(duplicate_of) == 2 * len(alone)
    assert all(tenants[name] == tenants[original] for name, original in duplicate_of.items())
    pairs = fitted.tables["pairs"].to_pylist()
    assert all(tenants[pair["document"]] == tenants[pair["other"]] for pair in pairs)


@pytest.mark.parametrize("method", ["auto", "minhash", "lshbloom"])
@pytest.mark.parametrize("memory_gb", [4.0, 2e-5, 4e-6])
def test_neither_method_nor_memory_change_the_answer(method: str, memory_gb: float) -> None:
    texts = planted(5, families=10)
    shape = {"bands": 20, "rows": 6}
    expected = fit(Deduplicate(**shape), corpus(texts))
    operator = Deduplicate(method=method, memory_gb=memory_gb, **shape)
    assert operator.plan(len(texts)).shards > 1 or memory_gb == 4.0 or method != "minhash"
    fitted = fit(operator, corpus(texts, batch=7))
    assert fitted.tables["pairs"].equals(expected.tables["pairs"])
    assert fitted.summary == expected.summary


@pytest.mark.parametrize("size", [1, 7, 30])
def test_packs_do_not_change_the_answer(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = planted(6, families=10)
    expected = fit(Deduplicate(), corpus(texts))
    monkeypatch.setattr(operator, "PACK", size)
    assert fit(Deduplicate(), corpus(texts)).tables["pairs"].equals(expected.tables["pairs"])
