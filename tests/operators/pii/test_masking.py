"""Masked texts hold no personal data, pseudonyms are of a person and of a key, and turns stay where their text is."""

import dataclasses
import datetime
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from mnemic.personal import PERSONAL_KINDS
from operators.pii.finder import Finder
from operators.pii.masking import Masking, secret_of
from operators.pii.operator import PersonalData
from pipelines.sources.contracts import Document, Reject, Turn
from pipelines.sources.masked import masked

SAMPLE = Path(__file__).parents[2] / "fixtures" / "curate" / "personal.jsonl"
ALL = PersonalData.countries
PLAIN = Masking(PERSONAL_KINDS, ALL)
KEYED = Masking(PERSONAL_KINDS, ALL, b"0123456789abcdef")


def test_each_span_becomes_its_kind_and_all_else_stays():
    text = "Write to ada@example.org (+49 30 901820) from 8.8.8.8, card 4111 1111 1111 1111."
    assert PLAIN.text(text) == "Write to [EMAIL] ([PHONE]) from [IP], card [CARD]."
    finder = Finder(PERSONAL_KINDS, ALL)
    for line in SAMPLE.read_text().splitlines():
        text, at, expected = json.loads(line)["text"], 0, ""
        for begin, end, kind in finder.of(text):
            expected, at = f"{expected}{text[at:begin]}[{kind.upper()}]", end
        assert PLAIN.text(text) == expected + text[at:]


def test_what_is_masked_holds_nothing_that_would_be_masked():
    for line in SAMPLE.read_text().splitlines():
        for masking in (PLAIN, KEYED):
            once = masking.text(json.loads(line)["text"])
            assert masking.text(once) == once


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@Example.org", "ada@example.ORG"),
        ("+49 30 901820", "0049 (30) 901820"),
        ("+49 (0)30 901820", "+4930901820"),
        ("DE89 3704 0044 0532 0130 00", "DE89370400440532013000"),
        ("4111 1111 1111 1111", "4111-1111-1111-1111"),
        ("2a00:1450:0::1", "2a00:1450::1"),
    ],
)
def test_one_person_has_one_pseudonym_in_every_spelling(one, other):
    first, second = (KEYED.text(f"see {text}, then") for text in (one, other))
    assert first == second and first.startswith("see [") and first.endswith("], then")
    assert KEYED.text("x@example.org") != KEYED.text("y@example.org")
    assert dataclasses.replace(KEYED, secret=b"another key of 16").text(one) != KEYED.text(one)


def test_the_key_is_named_and_never_told(monkeypatch):
    monkeypatch.delenv("MNEMIC_TEST_KEY", raising=False)
    with pytest.raises(RecipeError, match=r"MNEMIC_TEST_KEY is not set; set it.*leave `key` out of `pii`\.$"):
        secret_of("MNEMIC_TEST_KEY")
    monkeypatch.setenv("MNEMIC_TEST_KEY", "abc123")
    with pytest.raises(RecipeError, match="shorter than 16") as error:
        secret_of("MNEMIC_TEST_KEY")
    assert "abc123" not in str(error.value)
    monkeypatch.setenv("MNEMIC_TEST_KEY", "0123456789abcdef")
    masking = PersonalData.of({"action": "mask", "key": "MNEMIC_TEST_KEY"}).masking
    assert masking == KEYED and "0123456789" not in repr(masking) and "0123456789" not in masking.identity
    identities = {PLAIN.identity, KEYED.identity, dataclasses.replace(KEYED, secret=b"another key of 16").identity}
    identities |= {Masking(("email",), ALL).identity, Masking(PERSONAL_KINDS, ()).identity}
    assert len(identities) == 5
    assert PersonalData.of("mark").masking is None and PersonalData.of("mask").masking == PLAIN


def test_a_document_is_masked_in_all_that_it_states():
    lines = ["my address is ada@example.org", "ok +49 30", "901820 is no number"]
    text = "\n".join(lines)
    starts = [0, 30, 40]
    turns = tuple(
        Turn(f"<{number}@mail.example.org>", start, start + len(line), "grace@example.org", datetime.datetime.now())
        for number, (start, line) in enumerate(zip(starts, lines, strict=True))
    )
    assert [text[turn.start : turn.end] for turn in turns] == lines
    metadata = {
        "title": "For ada@example.org",
        "tags": ["8.8.8.8", "x"],
        "card": 4111111111111111,
        "year": 2026,
        "t": 0.5,
    }
    stated = dict.fromkeys(("locator", "collection", "tenant", "session", "speaker"), "of ada@example.org")
    document = masked(Document(text=text, turns=turns, metadata=metadata, **stated), PLAIN)
    assert [document.text[turn.start : turn.end] for turn in document.turns] == [
        "my address is [EMAIL]",
        "ok +49 30",
        "901820 is no number",
    ], "no span crosses the end of a turn"
    assert [(turn.id, turn.speaker) for turn in document.turns] == [("<[EMAIL]>", "[EMAIL]")] * 3
    assert document.metadata == {
        "title": "For [EMAIL]",
        "tags": ["[IP]", "x"],
        "card": "[CARD]",
        "year": 2026,
        "t": 0.5,
    }
    assert {getattr(document, name) for name in stated} == {"of [EMAIL]"}
    reject = masked(Reject("ada@example.org.txt", "'ada@example.org' is no time"), PLAIN)
    assert (reject.locator, reject.reason) == ("[EMAIL].txt", "'[EMAIL]' is no time")


pieces = st.lists(
    st.text(max_size=12) | st.sampled_from(["ada@example.org", "+49 30 901820", "8.8.8.8", "\n"]), max_size=8
)


@settings(max_examples=150)
@given(pieces)
def test_turns_are_masked_as_their_texts_alone_would_be(parts):
    turns, at = [], 0
    for number, part in enumerate(parts):
        turns.append(Turn(str(number), at, at + len(part)))
        at += len(part) + 1
    document = masked(Document("x", "\n".join(parts), turns=tuple(turns)), KEYED)
    assert [document.text[turn.start : turn.end] for turn in document.turns] == [KEYED.text(part) for part in parts]
    assert document.text == "\n".join(KEYED.text(part) for part in parts)
