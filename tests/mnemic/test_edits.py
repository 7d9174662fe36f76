"""Edits are spans over the original: whatever is read without them knows its places there."""

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mnemic.edits import blanked, merged, original, readable, without

TEXTS = st.text("ab \n\u65e5\U0001f600", max_size=40)


@st.composite
def edited(draw):
    text = draw(TEXTS)
    spans = draw(st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)), st.just("rule")), max_size=5))
    return text, merged([(min(a, b), max(a, b), rule) for a, b, rule in spans])


@given(edited())
def test_what_is_left_out_and_what_stays(case):
    text, edits = case
    cut = {place for edit in edits for place in range(edit["start"], edit["end"])}
    assert without(text, edits) == "".join(one for place, one in enumerate(text) if place not in cut)
    blank = blanked(text, edits)
    assert len(blank) == len(text)
    assert all(blank[place].isspace() if place in cut else blank[place] == one for place, one in enumerate(text))
    left = [place for place in range(len(text)) if place not in cut]
    assert original(np.arange(len(left)), edits).tolist() == left


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.sampled_from("xy")), max_size=8))
def test_merged_spans_are_in_order_and_overlap_nowhere(spans):
    edits = merged(spans)
    assert {p for a, b, _ in spans for p in range(a, b)} == {p for e in edits for p in range(e["start"], e["end"])}
    assert all(one["end"] <= other["start"] for one, other in itertools.pairwise(edits))


def test_documents_without_edits_are_read_as_they_are():
    rows = pa.table({"id": ["a"], "text": ["some text"]})
    assert readable(rows) is rows
    cut = rows.append_column("edits", pa.array([[{"start": 0, "end": 5, "rule": "r"}]]))
    assert readable(cut).to_pylist() == [{"id": "a", "text": "text"}]
