"""Units of a batch are those of its documents one by one, by either way to split; their texts are Python's slices."""

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_texts import TEXTS, documents

from mnemic.edits import EDITS, blanked
from mnemic.schema import TURN
from operators.sentences import Sentences, operator, places
from operators.sentences.joining import Joined
from operators.sentences.pieces import compiled_pieces, matched_pieces
from operators.sentences.places import TextBytes

SPOKEN = st.lists(st.tuples(st.sampled_from(["", " ", "\n"]), TEXTS), min_size=1, max_size=4)
WAYS = (compiled_pieces, matched_pieces)


def conversation(spoken: list[tuple[str, str]]) -> tuple[str, list[dict[str, Any]]]:
    text, turns = "", []
    for number, (gap, words) in enumerate(spoken):
        start = len(text) + len(gap)
        text += gap + words
        speaker = "ABB"[number % 3]
        turns.append({"id": f"t{number}", "start": start, "end": len(text), "speaker": speaker, "time": None})
    return text, turns


def joined(ranges: list[tuple[int, int]], shortest: int, longest: int) -> list[tuple[int, int]]:
    """By the definition: a short unit takes the next piece, and a short last piece goes to the unit before."""
    units: list[tuple[int, int]] = []
    for number, (start, end) in enumerate(ranges):
        short = bool(units) and units[-1][1] - units[-1][0] < shortest
        short_at_end = number == len(ranges) - 1 and end - start < shortest
        if units and (short or short_at_end) and end - units[-1][0] <= longest:
            units[-1] = units[-1][0], end
        else:
            units.append((start, end))
    return units


def units_of(text: str, turns: list[dict[str, Any]] | None, sentences: Sentences, most: int) -> list[tuple[int, int]]:
    """The units of one document, turn by turn."""
    alone = Sentences(sentences.max_characters)

    def cut(part: str) -> list[tuple[int, int]]:
        return joined(alone.ranges(part), sentences.min_characters, sentences.max_characters)

    ranges = [] if turns else cut(text)
    for turn in turns or ():
        start, end = turn["start"], turn["end"]
        long = end - start > sentences.max_characters
        ranges += [(start + a, start + b) for a, b in cut(text[start:end])] if long else [(start, end)]
    if len(ranges) <= most:
        return ranges
    return joined(ranges, (ranges[-1][1] - ranges[0][0]) // (most - 1) + 1, sentences.max_characters)


@given(
    st.lists(st.one_of(TEXTS, SPOKEN), max_size=5),
    st.sampled_from([(5, 1), (12, 4), (1000, 1), (1000, 9)]),
    st.sampled_from([2, 5, 1 << 17]),
    st.data(),
)
@settings(max_examples=50)
def test_a_batch_is_its_documents_one_by_one(
    contents: list[Any], lengths: tuple[int, int], most: int, data: Any
) -> None:
    pairs = [conversation(one) if isinstance(one, list) else (one, None) for one in contents]
    texts, turns = [text for text, _ in pairs], [turns for _, turns in pairs]
    batch, sentences = documents(texts, turns), Sentences(*lengths)
    if data.draw(st.booleans()):
        spans = [[] if len(text) < 2 else [{"start": 1, "end": len(text) // 2 + 1, "rule": "r"}] for text in texts]
        texts = [blanked(*pair) for pair in zip(texts, spans, strict=True)]
        batch = batch.append_column("edits", pa.array(spans, EDITS))
    first = data.draw(st.integers(0, len(texts)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operator, "MOST_UNITS", 1 << 17)
        expected = [units_of(*pair, sentences, most) for pair in zip(texts, turns, strict=True)][first:]
        patch.setattr(operator, "MOST_UNITS", most)
        patch.setattr(places, "_AT_ONCE", data.draw(st.integers(1, 9)))
        results = [
            sentences.units_of(partial(way, longest=sentences.max_characters), batch.slice(first)) for way in WAYS
        ]
    rows = [(f"d{first + k}", *bounds) for k, ranges in enumerate(expected) for bounds in ranges]
    for units, rejects in results:
        units.validate(full=True)
        columns = [units.column(name).to_pylist() for name in ("document", "start", "end")]
        assert list(zip(*columns, strict=True)) == rows
        slices = [texts[int(document[1:])][start:end] for document, start, end in rows]
        assert units.column("text").to_pylist() == slices
        empty = [f"d{first + k}" for k, ranges in enumerate(expected) if not ranges]
        assert rejects.column("input").to_pylist() == empty
    assert results[0][0].equals(results[1][0])


@given(st.lists(TEXTS, max_size=5), st.integers(1, 9), st.integers(0, 3))
def test_characters_are_where_they_stand_in_the_bytes(texts: list[str], at_once: int, first: int) -> None:
    column = pa.array(["before", *texts, "é"]).slice(first, max(len(texts) + 1 - first, 0))
    texts = column.to_pylist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "_AT_ONCE", at_once)
        bytes_of_texts = TextBytes.of(column)
        numbers = [(number, place) for number, text in enumerate(texts) for place in range(len(text) + 1)]
        rows, characters = (np.array([pair[k] for pair in numbers], np.int64) for k in range(2))
        byte_places = bytes_of_texts.bytes_of(rows, characters)
    for (number, place), byte in zip(numbers, byte_places.tolist(), strict=True):
        begin = int(bytes_of_texts.limits[number])
        assert byte - begin == len(texts[number][:place].encode())


def test_texts_that_were_read_and_texts_that_were_made_are_of_one_type() -> None:
    """The rules are compiled for each type of array: twice takes twice as long."""
    column = pa.array(["One. Two."], pa.large_string())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("text", column.type)])) as stream:
        stream.write_table(pa.table({"text": column}))
    chunk = pa.ipc.open_stream(sink.getvalue()).read_all()["text"].chunk(0)
    for texts in (column, chunk, column.slice(1), chunk.cast(pa.string())):
        assert not TextBytes.of(texts).data.flags.writeable


def test_turns_that_are_no_parts_of_their_text_are_cut_to_it() -> None:
    wrong = [
        {"id": str(number), "start": start, "end": end, "speaker": "", "time": None}
        for number, (start, end) in enumerate([(-5, 3), (9, 2), (1, 4), (2**40, 2**50), (-(2**60), 2**60)])
    ]
    units, _ = Sentences().open("cpu")(documents(["ab", "Wörter", "cd"], [None, wrong, None]))
    units.validate(full=True)
    assert units.column("text").to_pylist() == ["ab", "Wör", "", "", "", "", "cd"]


@given(st.lists(st.lists(st.integers(1, 9), max_size=8), max_size=5), st.integers(1, 12), st.integers(12, 30))
def test_short_pieces_are_joined_within_their_text(sizes: list[list[int]], shortest: int, longest: int) -> None:
    pieces = [[(sum(row[:k]), sum(row[: k + 1])) for k in range(len(row))] for row in sizes]
    starts, ends = (np.array([piece[k] for row in pieces for piece in row], np.int64) for k in range(2))
    counts = np.array([len(row) for row in pieces], np.int64)
    units = Joined.of(starts, ends, counts, np.full(len(counts), shortest), longest)
    expected = [joined(row, shortest, longest) for row in pieces]
    assert units.counts.tolist() == [len(row) for row in expected]
    ranges = list(zip(starts[units.firsts].tolist(), ends[units.lasts].tolist(), strict=True))
    assert ranges == [bounds for row in expected for bounds in row]


def test_nothing_comes_of_no_documents() -> None:
    units, rejects = Sentences().open("cpu")(documents(["a"]).slice(0, 0))
    assert len(units) == len(rejects) == 0


def test_a_column_of_turns_that_are_all_null_is_a_batch_without_conversations() -> None:
    batch = documents(["One. Two."])
    place = batch.schema.get_field_index("turns")
    batch = batch.set_column(place, "turns", pa.nulls(1, pa.list_(TURN)))
    assert Sentences().open("cpu")(batch)[0].column("turn").to_pylist() == ["", ""]


@pytest.mark.parametrize("damaged", [b"A. \xff. B", b"A. \xe3\x80", b"\xed\xa0\x80", b"\x80A"])
def test_bytes_that_are_no_text_are_refused(damaged: bytes) -> None:
    batch = documents(["One.", "Two."])
    limits = pa.py_buffer(np.array([0, len(damaged), len(damaged) + 4], np.int64))
    texts = pa.LargeStringArray.from_buffers(2, limits, pa.py_buffer(damaged + b"Two."))
    with pytest.raises(pa.ArrowInvalid, match="UTF8"):
        Sentences().open("cpu")(batch.set_column(batch.schema.get_field_index("text"), "text", texts))
