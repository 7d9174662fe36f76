"""Long arrays of JSON: equal to the standard library at any block, past damage, in bounded memory."""

from __future__ import annotations

import io
import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import json_stream
from pipelines.sources.json_stream import Damage, JsonStream, last_object, objects
from pipelines.sources.json_values import Unusable

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def is_object(value: Any) -> bool:
    return isinstance(value, dict) and "id" in value


def read(data: bytes, limit: int = 10**6) -> list[Any]:
    stream = JsonStream(io.BytesIO(data), limit)
    stream.enter()
    return list(stream.elements(is_object))


@settings(max_examples=200)
@given(
    elements=st.lists(values, max_size=8),
    indent=st.sampled_from([None, 0, 3]),
    ascii=st.booleans(),
    block=st.integers(1, 40),
)
def test_any_array_in_any_blocks(elements: list[Any], indent: int | None, ascii: bool, block: int) -> None:
    data = json.dumps(elements, indent=indent, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    before, json_stream.BLOCK = json_stream.BLOCK, block
    try:
        assert read(data) == list(enumerate(elements, start=1))
        whole = b'{"a": [1], "name": "x", "messages": ' + data + b"}"
        stream = JsonStream(io.BytesIO(whole), 10**6)
        header = stream.seek("messages")
        assert header is not None and last_object(header, "name") == {"a": [1], "name": "x"}
        assert list(stream.elements(is_object)) == list(enumerate(elements, start=1))
        assert stream.seek("messages") is None
    finally:
        json_stream.BLOCK = before


@pytest.mark.parametrize("block", range(1, 9))
def test_numbers_go_on_behind_a_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "BLOCK", block)
    elements = [0.5, 1.5e-30, -2e300, 10, 0, -0.0]
    assert read(json.dumps(elements).encode()) == list(enumerate(elements, start=1))


@pytest.mark.parametrize("block", [5, 64, 1 << 20])
@pytest.mark.parametrize("damage", [b'"', b"{", b"}", b"]", b"\\", b"[" * 5_000, b"\x01", b'{"id": 9, ', b"}, {"])
def test_damage_costs_one_element(damage: bytes, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "BLOCK", block)
    elements = [{"id": n, "inner": [{"name": n}, {"name": "}{"}], "text": f"text {n}"} for n in range(6)]
    data = json.dumps(elements).encode()
    place = data.index(b'"text 2')
    entries = read(data[:place] + damage + data[place:])
    whole = [value for entry in entries if not isinstance(entry, Damage) for value in [entry[1]] if value in elements]
    assert {value["id"] for value in whole} >= {0, 1, 3, 4, 5}
    assert any(isinstance(entry, Damage) for entry in entries)


def test_numbers_surrogates_and_bytes_that_are_no_text() -> None:
    ((_, value),) = read(b'[{"id": ' + b"9" * 5_000 + b', "a": "\\ud800", "b": "\xff", "c": 1e999}]')
    assert value["id"] == "9" * 5_000 and value["a"] == "\ud800" and value["b"] == "\udcff"
    with pytest.raises(Unusable, match="UTF-16"):
        JsonStream(io.BytesIO("[]".encode("utf-16")), 10)


def test_what_is_too_long_is_told_and_the_next_is_read() -> None:
    long = {"id": 1, "text": "x" * 5_000_000}
    entries = read(json.dumps([{"id": 0}, long, {"id": 2}]).encode(), 100_000)
    assert [entry.number if isinstance(entry, Damage) else entry[1]["id"] for entry in entries] == [0, 2, 2]
    assert "max_json_bytes" in entries[1].reason


@pytest.mark.parametrize("piece", ['{"id":', '{"id":"', "[", '{"a":{"b":', '"', "{", '{"id":1', "\\", '{"id":["'])
def test_hostile_text_takes_no_long_time(piece: str) -> None:
    data = ("[" + piece * (3_000_000 // len(piece))).encode()
    started = time.process_time()
    entries = read(data)
    assert time.process_time() - started < 10
    assert entries and any(isinstance(entry, Damage) for entry in entries)
    assert isinstance(list(objects(data.decode(), is_object)), list) and time.process_time() - started < 20


def test_memory_is_that_of_an_element() -> None:
    peaks = []
    for count in (3_000, 30_000):
        data = json.dumps([{"id": n, "text": "x" * 900} for n in range(count)]).encode()
        file = io.BytesIO(data)
        tracemalloc.start()
        stream = JsonStream(file, 10**6)
        stream.enter()
        assert sum(1 for _ in stream.elements(is_object)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 20_000_000
