"""The column `context`: the title of a document and the headings above a unit."""

import random
import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from operators.context import UnitContext, with_context
from operators.sentences import Sentences

MARKDOWN = """\
# Python clients

Install it first.

## Tagging

A tag names a version. It is a string.

```
# no heading, but a comment
tag()
```

### Of branches ###

A branch has tags too.

## Releases

They pin a version.
"""


def units(documents: list[tuple[str | None, str]]) -> pa.RecordBatch:
    """Units of (title, text), as the step before makes them."""
    rows = [
        {"document": f"d{number}", "ordinal": place, "text": text[start:end], "title": title}
        for number, (title, text) in enumerate(documents)
        for place, (start, end) in enumerate(Sentences().ranges(text))
    ]
    schema = pa.schema(
        [("document", pa.string()), ("ordinal", pa.int32()), ("text", pa.large_string()), ("title", pa.string())]
    )
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def contexts(batch: pa.RecordBatch, **settings: object) -> list[str]:
    rows, rejects = UnitContext(**settings).open("cpu")(batch)  # type: ignore[arg-type]
    assert rejects.num_rows == 0
    return rows["context"].to_pylist()


def by_hand(batch: pa.RecordBatch, depth: int) -> dict[tuple[str, int], str]:
    """The definition, one unit after the other; for texts without fences, whose headings follow number signs."""
    result = {}
    stack: list[tuple[int, str]] = []
    for row in sorted(batch.to_pylist(), key=lambda row: (row["document"], row["ordinal"])):
        if row["ordinal"] == 0:
            stack = []
        heading = re.fullmatch(r"(#{1,6}) (.*)", row["text"])
        if heading:
            stack = [one for one in stack if one[0] < len(heading[1])]
        title = row["title"] or ""
        above = [name for _, name in stack][-depth:]
        parts = [part for part in (title, *(one for one in above if one != title)) if part]
        context = ": ".join(parts)
        result[row["document"], row["ordinal"]] = "" if row["text"].lstrip("# ") == context else context
        if heading:
            stack.append((len(heading[1]), heading[2]))
    return result


def test_a_unit_knows_its_title_and_the_headings_above_it():
    batch = units([("Python clients", MARKDOWN)])
    placed = dict(zip(batch["text"].to_pylist(), contexts(batch), strict=True))
    assert placed["# Python clients"] == ""
    assert placed["Install it first."] == "Python clients"
    assert placed["## Tagging"] == "Python clients"
    assert placed["It is a string."] == "Python clients: Tagging"
    assert placed["### Of branches ###"] == "Python clients: Tagging"
    assert placed["A branch has tags too."] == "Python clients: Tagging: Of branches"
    assert placed["They pin a version."] == "Python clients: Releases"
    assert not any("comment" in context for context in placed.values())


def test_without_a_title_the_headings_are_all_and_without_both_there_is_nothing():
    batch = units([(None, MARKDOWN), (None, "A sentence. Another one."), ("Log", "A sentence.")])
    placed = contexts(batch)
    assert placed[-3:] == ["", "", "Log"]
    assert "Tagging: Of branches" in placed and placed[0] == ""
    assert contexts(batch, headings=False) == [""] * (len(placed) - 1) + ["Log"]


def test_underlined_headings_are_ranked_by_the_order_of_their_lines():
    text = "Guide\n=====\n\nRead it.\n\nSearch\n------\n\nAsk it.\n\nMore\n====\n\nThe end."
    placed = dict(zip((batch := units([("", text)]))["text"].to_pylist(), contexts(batch), strict=True))
    assert (placed["Read it."], placed["Ask it."], placed["The end."]) == ("Guide", "Guide: Search", "More")


def test_parts_are_bounded_and_on_one_line():
    batch = units([("A title\n  of lines " + "x" * 5000, "It is long.\n\n# " + "y" * 900 + "\n\nBelow.")])
    placed = contexts(batch, characters=20)
    assert placed == ["A title of lines xxx"] * 2 + ["A title of lines xxx: " + "y" * 20]
    assert contexts(units([])) == []


@pytest.mark.parametrize("field", ["depth", "characters"])
def test_settings_out_of_bounds_are_refused_with_the_way_out(field):
    with pytest.raises(RecipeError, match="at least 1"):
        UnitContext(**{field: 0})


HEADINGS = st.builds(lambda level, name: f"{'#' * level} {name}", st.integers(1, 4), st.sampled_from(["Alpha", "Beta"]))
LINES = st.lists(HEADINGS | st.sampled_from(["A sentence.", "Alpha", "It is here."]), min_size=1, max_size=12)


@given(st.lists(st.tuples(st.sampled_from([None, "", "Alpha", "Title"]), LINES), min_size=1, max_size=4), st.data())
@settings(max_examples=150)
def test_any_order_of_rows_and_any_split_by_documents_gives_what_the_definition_gives(documents, data):
    batch = units([(title, "\n\n".join(lines)) for title, lines in documents])
    depth = data.draw(st.integers(1, 3))
    expected = by_hand(batch, depth)
    order = list(range(batch.num_rows))
    random.Random(data.draw(st.integers(0, 99))).shuffle(order)
    shuffled = batch.take(pa.array(order))
    cut = data.draw(st.integers(0, len(documents)))
    first = pa.array([int(name[1:]) < cut for name in shuffled["document"].to_pylist()])
    for part in (shuffled, shuffled.filter(first), shuffled.filter(pa.compute.invert(first))):
        keys = zip(part["document"].to_pylist(), part["ordinal"].to_pylist(), strict=True)
        assert contexts(part, depth=depth) == [expected[key] for key in keys]


def test_a_text_is_encoded_behind_its_context():
    texts = pa.array(["It rains.", "It snows."], pa.large_string())
    batch = pa.record_batch({"text": texts, "context": pa.array(["Weather", ""], pa.string())})
    assert with_context(batch).to_pylist() == ["Weather: It rains.", "It snows."]
    assert with_context(batch.select(["text"])).equals(texts)
