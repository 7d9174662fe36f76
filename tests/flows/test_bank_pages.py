"""Tables about a bank: the first hundred rejects, curves in a line, and nothing of a text that acts."""

import math

import pyarrow as pa
import pytest
from tiny_bank import TinyBank

import mnemic
from flows.bank_pages import REJECTS, sparkline, tables
from flows.naming import LONGEST, place
from mnemic.dataset.write import append_rows
from mnemic.schema import REJECTS as SCHEMA

HOSTILE = "a|b\n# <script>alert(1)</script> [x](javascript:y) `c` **d** \x1b[2J"


def test_rejects_are_a_hundred_and_counted_and_harmless(tiny: TinyBank, tmp_path) -> None:
    bank = mnemic.open_bank(tiny.copy(tmp_path)["bank"])
    row = bank.store["rejects"].require().table(SCHEMA.names).to_pylist()[0]
    rows = [{**row, "id": f"{number:032x}", "locator": f"{number:04d} {HOSTILE}"} for number in range(300)]
    append_rows(bank.store["rejects"], pa.Table.from_pylist(rows, schema=SCHEMA), SCHEMA, {})
    listed = {name: (sentence, rows) for name, sentence, rows in tables(bank)}
    sentence, shown = listed["rejects"]
    assert len(shown) == REJECTS and sentence.startswith("302 inputs") and f"the first {REJECTS}" in sentence
    text = "".join(value for row in shown for value in row.values())
    assert "<" not in text and "\x1b" not in text and "\n" not in text and "](" not in text and "UTF-8" in text


def test_every_table_says_which_bank_it_is_of(tiny: TinyBank) -> None:
    listed = {name: (sentence, rows) for name, sentence, rows in tables(tiny.open())}
    assert list(listed) == ["rejects", "curves", "clusters", "recall"]
    assert all(rows and tiny.recipe["bank"].rsplit("/", 1)[1] in sentence for sentence, rows in listed.values())
    assert {row["column"] for row in listed["recall"][1]} >= {"vector"}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([math.nan, math.inf], ""),
        ([3.0], "▁"),
        ([2.0, 2.0], "▁▁"),
        ([0.0, 7.0, math.nan, 3.5], "▁█▅"),
        ([float(number) for number in range(2400)], None),
    ],
)
def test_a_curve_is_a_line_of_blocks(values: list[float], line: str | None) -> None:
    shown = sparkline(values)
    assert shown == line if line is not None else len(shown) == 24 and "".join(sorted(shown)) == shown


def test_a_run_is_called_by_the_end_of_a_long_place() -> None:
    assert place("/banks/notes") == "/banks/notes"
    long = place("/" + "x" * 500 + "/notes\x1b[2J\n")
    assert len(long) == LONGEST and long.startswith("...") and "/notes" in long and "\x1b" not in long
