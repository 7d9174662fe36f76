"""SQL of a user: what it may say, and that what it says is written anew."""

import subprocess
import sys
import time
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from mnemic.catalogue import CATALOGUE
from mnemic.conditions.rewrite import rewritten
from mnemic.dataset import Store
from mnemic.dataset.write import append_rows
from mnemic.errors import QueryError
from mnemic.schema import BANDS, DOCUMENTS, MEMORIES, METRICS, PAIRS, TIME, clusters, datastore, events

ROWS = pa.table(
    {
        "id": ["a", "b", "c"],
        "tenant": ["alice", "bob", "it's"],
        "words": pa.array([1, 5, 20], pa.int32()),
        "score": pa.array([0.5, None, float("nan")], pa.float32()),
        "start_time": pa.array([datetime(2026, 1, 5, tzinfo=UTC), None, datetime(1, 1, 1, tzinfo=UTC)], TIME),
        "speakers": pa.array([["Ada"], [], ["Ben", None]], pa.list_(pa.string())),
        "leaf": [True, False, True],
        "text": pa.array(["100% of A_b", "İstanbul", "x\ny \\ \"'"], pa.large_string()),
        "Order": pa.array([1, 2, 3], pa.uint64()),
        "end": pa.array([1, 2, 3], pa.int64()),
        "day": pa.array([datetime(2026, 1, 5), None, datetime(1, 1, 1)], pa.date32()),
        "nanoseconds": pa.array([datetime(2026, 1, 5), None, datetime(1999, 1, 1)], pa.timestamp("ns")),
        "vector": pa.array([[0.0], [1.0], [2.0]], pa.list_(pa.float32(), 1)),
    }
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("rows"))
    append_rows(store["events"], ROWS, ROWS.schema, {})
    return store["events"].require()


ALL = "abc"

ACCEPTED = {
    "true": ALL,
    "1 = 1": ALL,
    "tenant = 'alice'": "a",
    'tenant = "alice"': "a",
    "`tenant` = 'alice'": "a",
    "TENANT = 'alice'": "a",
    "order = 1": "a",
    "tenant = 'it''s'": "c",
    'tenant = "it\'s"': "c",
    "tenant <> 'alice'": "bc",
    "tenant != 'alice' -- and so on": "bc",
    "tenant = 'alice' /* only */ ;": "a",
    "'alice' = tenant": "a",
    "tenant = id": "",
    "tenant > 'b' AND tenant < 'c'": "b",
    "tenant IN ('alice', 'bob')": "ab",
    "tenant NOT IN ('alice')": "bc",
    "tenant LIKE 'a%'": "a",
    "tenant NOT LIKE 'a%'": "bc",
    "tenant ILIKE 'A%E'": "a",
    "text LIKE '100\\%%A\\_b'": "a",
    "text LIKE 'x_y%'": "c",
    "text = 'x\ny \\ \"'''": "c",
    "words > 1 AND words < 20 OR leaf AND NOT (words = 1)": "bc",
    "words BETWEEN 2 AND 30": "bc",
    "words NOT BETWEEN 2 AND 30": "a",
    "words > -1": ALL,
    "words = 5.0": "b",
    "words == 5": "b",
    "words + 1 > 5 AND words % 2 = 0 AND words * 2 - 1 = 39 AND words / 4 = 5": "c",
    "-words < -1": "bc",
    "words = `end`": "a",
    "score > 0": "ac",
    "score IS NULL": "b",
    "score IS NOT NULL AND NOT isnan(score)": "a",
    "score IS DISTINCT FROM 0.5": "bc",
    "score IS NOT DISTINCT FROM 0.5": "a",
    "coalesce(score, 0.0) = 0.0": "b",
    "leaf": "ac",
    "NOT leaf": "b",
    "NOT NOT leaf": "ac",
    "leaf IS NOT TRUE": "b",
    "leaf = false": "b",
    "(words > 3) = leaf": "c",
    "NOT (leaf AND (words > 3 OR NOT (words < 2)))": "ab",
    "start_time > date '2026-01-01'": "a",
    "start_time < date '0001-01-02'": "c",
    "start_time >= timestamp '2026-01-05T05:00:00+05:00'": "a",
    "start_time = '2026-01-05'": "a",
    "start_time BETWEEN CAST('2026-01-01' AS date) AND timestamp '2026-02-01 09:30:00'": "a",
    "start_time IS NULL": "b",
    "NOT (start_time > date '2026-01-01')": "c",
    "date_part('year', start_time) = 2026": "a",
    "day = date '0001-01-01'": "c",
    "day < '2026-01-05'": "c",
    "nanoseconds < date '2000-01-01'": "c",
    "array_has(speakers, 'Ada')": "a",
    "array_has_any(speakers, ['Ada', 'Ben'])": "ac",
    "array_has_all(speakers, make_array('Ben'))": "c",
    "array_length(speakers) = 0": "b",
    "length(tenant) = 3 AND lower(tenant) = 'bob' AND upper(tenant) = 'BOB'": "b",
    "starts_with(tenant, 'al') AND ends_with(tenant, 'ce') AND contains(tenant, 'lic')": "a",
    "regexp_like(tenant, '^[ab]')": "ab",
    "strpos(tenant, 'o') = 2": "b",
    "abs(words - 10) = 9": "a",
    "vector IS NOT NULL": ALL,
}


@pytest.mark.parametrize(("sql", "ids"), ACCEPTED.items())
def test_a_condition_means_what_it_says(rows, sql, ids):
    assert "".join(rows.table(["id"], rewritten(sql, rows.schema, "events"))["id"].to_pylist()) == ids


REFUSED = {
    "true) OR (true": "closes a bracket",
    "1=1) OR (1=1": "closes a bracket",
    "(true": "does not close",
    "true -- ) \n OR": "no SQL",
    "true; DROP TABLE events": "no SQL",
    "true UNION SELECT 1": "no SQL",
    "SELECT 1": "no SQL",
    "words IN (SELECT words FROM events)": "no SQL",
    "EXISTS (SELECT 1)": "no SQL|not supported|no function",
    "'; --": "no SQL",
    "": "says nothing",
    "/* nothing */": "says nothing",
    "true, true": "no SQL",
    "words": "is a number, not true or false",
    "'true'": "is text, not true or false",
    "1": "is a number, not true or false",
    "NULL": "IS NULL",
    "tenant = NULL": "IS NULL",
    "tenant IN ('a', NULL)": "IS NULL",
    "colour = 'red'": "no column 'colour'",
    "tenat = 'a'": "but tenant",
    "events.tenant = 'a'": "before the dot",
    "_rowid = 0": "no column '_rowid'",
    "\"tenant\" = 'a'": "in double quotes",
    "words > 'many'": "compare values of one kind",
    "tenant > 5": "compare values of one kind",
    "leaf = 1": "compare values of one kind",
    "leaf > false": "no order",
    "words > 3000000000": "whole numbers from -2147483648 to 2147483647",
    "words = 1.5": "whole numbers",
    "order = -1": "whole numbers from 0",
    "score > 1e999": "larger than any number",
    f"words > {'9' * 5000}": "larger than any number",
    "words > NaN": "no column 'NaN'",
    "words / 0 = 1": "other than 0",
    "words % end = 1": "other than 0",
    "start_time > 'soon'": "is no time",
    "start_time > date 'soon'": "is no day",
    "start_time > timestamp '0001-01-01T00:00:00+05:00'": "years 1 to 9999",
    "start_time > 5": "compare values of one kind",
    "start_time + 1 > 5": "not added",
    "start_time > now()": "no function 'now'",
    "day > timestamp '2026-01-01 09:30:00'": "holds days",
    "nanoseconds > date '0001-01-01'": "from 1678 to 2261",
    "CAST(words AS text) = '1'": "no SQL|a cast makes",
    "words::text = '1'": "has ':'",
    "speakers = 'Ada'": "array_has",
    "vector = 0": "no plain value|a list",
    "array_has(speakers, 5)": "compare values of one kind",
    "array_has(tenant, 'a')": "takes a column of lists",
    "array_has_any(speakers, [])": "give at least one",
    "lower(words) = 'a'": "lower takes text",
    "sleep(5)": "no function 'sleep'",
    "read_file('/etc/passwd') = ''": "no function",
    "tenant LIKE 'a!%' ESCAPE '!'": "no SQL|no ESCAPE",
    "tenant SIMILAR TO 'a'": "no SQL",
    "CASE WHEN leaf THEN true ELSE false END": "no SQL",
    "leaf = leaf = leaf": "put it in brackets",
    "kept()": "rows of documents",
    "tenant = ?": "has '\\?'",
    "tenant = $1": "has '\\$'",
    "tenant = @@version": "has '@'",
    "tenant = {fn now()}": "has '{'",
    "\ud800 = 1": "no SQL|no column|half",
    "tenant = '\ud800'": "half a character",
}


@pytest.mark.parametrize(("sql", "sentence"), REFUSED.items())
def test_anything_else_is_a_sentence(sql, sentence):
    with pytest.raises(QueryError, match=sentence) as error:
        rewritten(sql, ROWS.schema, "events")
    assert len(str(error.value)) < 1200 and str(error.value).endswith((".", "'value')."))


def nested(count: int, around: str) -> str:
    sql = "leaf"
    for _ in range(count):
        sql = around.format(sql)
    return sql


@pytest.mark.parametrize(
    "sql",
    [
        nested(15, "NOT (words > 1 AND {})"),
        nested(15, "({}) OR words > 1 AND leaf"),
        nested(18, "({})"),
        " OR ".join(["words = 1"] * 3_800),
        " AND ".join(["leaf"] * 5_000),
        "NOT " * 15 + "leaf",
        f"id IN ({','.join(['1234567890'.join('``').replace('`', chr(39))] * 3_000)})",
    ],
    ids=["NOT", "OR", "brackets", "long OR", "long AND", "NOTs", "long IN"],
)
def test_long_and_deep_conditions_are_answered(rows, sql):
    started = time.process_time()
    assert isinstance(rows.table(["id"], rewritten(sql, rows.schema, "events")), pa.Table)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "sql",
    [
        nested(5_000, "({})"),
        nested(2_000, "NOT (words > 1 AND {})"),
        "NOT " * 10_000 + "leaf",
        "words > " + "- " * 20_000 + "1",
        "words > " + "1 + " * 5_000 + "1",
        "leaf" + " = leaf" * 5_000,
        "[" * 20_000,
        nested(3_000, "lower({})") + " = 'a'",
        "leaf OR " * 100_000 + "leaf",
        "tenant = '" + "x" * 1_000_000 + "'",
        "leaf AND " * 5_000,
    ],
)
def test_conditions_that_exhaust_are_sentences_at_once(sql):
    started = time.process_time()
    with pytest.raises(QueryError):
        rewritten(sql, ROWS.schema, "events")
    assert time.process_time() - started < 5, "the limit is a second on an idle machine"


def test_every_column_of_every_dataset_can_be_asked():
    schemas = [DOCUMENTS, BANDS, MEMORIES, METRICS, PAIRS, events(8), clusters(8), datastore(8, 100)]
    for schema in schemas:
        for name in schema.names:
            assert rewritten(f"{name} IS NOT NULL", schema, "rows") == f"`{name}` IS NOT NULL"
            assert rewritten(f"({name.upper()} IS NULL)", schema, "rows") == f"`{name}` IS NULL"
    assert CATALOGUE


def test_kept_documents_can_be_asked_for():
    assert rewritten("NOT kept() OR length > 5", DOCUMENTS, "documents") == "(NOT ((true))) OR (`length` > 5)"
    whole = DOCUMENTS.append(pa.field("duplicate_of", pa.string()))
    assert rewritten("kept()", whole, "documents") == "((duplicate_of = ''))"
    assert rewritten("text = 'kept()'", whole, "documents") == "`text` = 'kept()'", "a text stays one"


def test_only_sql_needs_the_parser():
    code = (
        "import sys, mnemic.bank; from mnemic.conditions import Conditions; from mnemic.schema import events;"
        "Conditions.of({'tenant': 'a'}).sql(events(8), 'events'); print('sqlglot' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "False"
