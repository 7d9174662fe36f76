"""What an operator gives back is looked at before it is written."""

import pyarrow as pa
import pytest

from mnemic.errors import StepError
from operators.contracts import NO_REJECTS, REJECTED
from pipelines.steps.answers import each_once, of_inputs, rows_and_rejects

ROWS = pa.RecordBatch.from_pydict({"document": ["a", "b"], "count": [1, 2]})


def rejects(**changes):
    row = {"input": "a", "locator": "", "reason": "It is empty.", "severity": "reject"}
    return pa.RecordBatch.from_pylist([row | changes], schema=REJECTED)


def test_a_sound_answer_comes_through():
    assert rows_and_rejects("count", (ROWS, rejects()), ["document", "count"]) == (ROWS, rejects())
    of_inputs("count", ROWS, rejects(), "document", {"a", "b", "c"})
    each_once("count", ROWS, ("document",))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (None, "gave back NoneType"),
        (ROWS, "gave back RecordBatch"),
        ((pa.Table.from_batches([ROWS]), NO_REJECTS), "gave back Table, RecordBatch"),
        ((ROWS.select(["count"]), NO_REJECTS), "without document"),
        ((ROWS, ROWS), "rejects without input, locator"),
        ((ROWS, rejects(severity="bad")), "the severity 'bad'"),
    ],
)
def test_another_answer_is_refused(answer, sentence):
    with pytest.raises(StepError, match=f"operator of step count .*{sentence}.* Repair the operator"):
        rows_and_rejects("count", answer, ["document", "count"])


def test_rows_and_rejects_of_others_are_refused():
    with pytest.raises(StepError, match="a row of the input 'b'"):
        of_inputs("count", ROWS, NO_REJECTS, "document", {"a"})
    with pytest.raises(StepError, match="a reject of the input 'x'"):
        of_inputs("count", ROWS, rejects(input="x"), "document", {"a", "b"})


def test_two_rows_of_one_key_are_refused():
    with pytest.raises(StepError, match="several rows of one key"):
        each_once("count", pa.RecordBatch.from_pydict({"document": ["a", "a"]}), ("document",))
