"""One predicate says which documents are kept, whatever columns a bank has."""

import pyarrow as pa
import pytest

from mnemic.dataset import Store
from mnemic.dataset.write import append_rows
from mnemic.kept import KEPT, PASSING, expand


@pytest.mark.parametrize(
    ("where", "columns", "condition"),
    [
        (None, ["duplicate_of"], None),
        ("leaf", ["duplicate_of"], "leaf"),
        (KEPT, ["duplicate_of"], "(duplicate_of = '')"),
        (KEPT, ["id"], "true"),
        (f"NOT {KEPT} OR a = ''", ["duplicate_of"], "NOT (duplicate_of = '') OR a = ''"),
        ("text = 'kept()'", ["duplicate_of"], "text = 'kept()'"),
        (f"text = 'it''s kept()' AND {KEPT}", ["duplicate_of"], "text = 'it''s kept()' AND (duplicate_of = '')"),
        (KEPT, ["decision", "perplexity"], "(decision.rule = '' AND perplexity.rule = '')"),
        (PASSING, ["decision", "perplexity"], "(decision.rule = '')"),
        (f"{KEPT} OR {PASSING}", ["perplexity"], "(perplexity.rule = '') OR true"),
        ("unkept()", ["duplicate_of"], "unkept()"),
    ],
)
def test_it_is_written_out_for_the_columns_that_are_there(where, columns, condition):
    assert expand(where, columns) == condition


def test_a_snapshot_understands_it(tmp_path):
    rows = pa.table({"id": ["a", "b", "c"], "duplicate_of": ["", "a", ""]})
    store = Store(tmp_path)
    append_rows(store["documents"], rows, rows.schema, {})
    append_rows(store["early"], rows.select(["id"]), rows.select(["id"]).schema, {})
    documents, early = store["documents"].require(), store["early"].require()
    assert documents.count(KEPT) == 2 and early.count(KEPT) == 3
    assert documents.table(["id"], f"{KEPT} AND id <> 'a'")["id"].to_pylist() == ["c"]
    assert [batch["id"].to_pylist() for batch in documents.scan(["id"], f"NOT {KEPT}")] == [["b"]]
