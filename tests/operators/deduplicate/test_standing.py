"""Who is kept whatever the ranks: protected documents, those of an earlier release, and copies that are none."""

from __future__ import annotations

import pyarrow as pa
import pytest
from test_deduplicate import corpus, duplicates, fit

from operators.deduplicate import Deduplicate


def test_protected_documents_are_never_dropped() -> None:
    words = [f"w{i}" for i in range(100)]
    texts = {
        "long": " ".join([*words, "longest-of-all"]),
        "canary": " ".join([*words, "canary-1234"]),
        "copy": " ".join([*words, "Canary-1234"]),
        "other": " ".join([*words, "more"]),
    }
    plain = duplicates(fit(Deduplicate(), corpus(texts)), corpus(texts))
    assert plain.keys() == {"canary", "copy", "other"}
    for fields in (
        {"protected_ids": ("canary",)},
        {"protected_locators": ("fold*/can?ry.txt",)},
        {"protected_texts": (r"canary-\d{4}",)},
    ):
        duplicate_of = duplicates(fit(Deduplicate(**fields), corpus(texts)), corpus(texts))
        assert duplicate_of == {"copy": "canary", "long": "canary", "other": "canary"}
    both = Deduplicate(protected_texts=("(?i)canary",), protected_locators=("*/[long.txt",))
    assert duplicates(fit(both, corpus(texts)), corpus(texts)).keys() == {"long", "other"}


def test_documents_of_an_earlier_release_win_and_those_that_fell_stay_fallen() -> None:
    words = [f"w{i}" for i in range(100)]
    texts = {
        "old": " ".join(words),
        "fallen": " ".join([*words[:-1], "x"]),
        "longer": " ".join([*words, "and", "longer"]),
        "copy": " ".join(words).upper(),
        "alone": " ".join(f"z{i}" for i in range(50)),
    }
    assert duplicates(fit(Deduplicate(), corpus(texts)), corpus(texts)).keys() == {"old", "fallen", "copy"}
    rows = corpus(texts, before={"old": "", "fallen": "old", "alone": ""})
    fitted = fit(Deduplicate(), rows)
    assert duplicates(fitted, rows) == {"longer": "old", "copy": "old"}  # with those of the release
    assert not {"fallen"} & set(fitted.tables["pairs"]["document"].to_pylist())


def test_a_hash_proposes_a_copy_and_the_text_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"a": "one two three", "b": "four five six", "c": "One  two three"}
    rows = corpus(texts)
    place = rows.table.schema.get_field_index("normalised")
    same = pa.array([rows.table["normalised"][0].as_py()] * 3)
    rows.table = rows.table.set_column(place, rows.table.schema.field("normalised"), same)
    assert duplicates(fit(Deduplicate(), rows), rows) == {"a": "c"}
