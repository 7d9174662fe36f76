"""Beside a tenant no condition finds a row of another, and a condition that is taken means what Python says it means.

Hypothesis makes the conditions, valid ones with a Python twin, and hostile ones; a failure prints how to repeat it.
"""

import math
import re
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnemic.conditions import Conditions
from mnemic.dataset import Store
from mnemic.dataset.write import append_rows
from mnemic.errors import QueryError
from mnemic.schema import TIME
from mnemic.view import readable_condition

TENANTS = ["alice", "bob", "it's", "", "al_ce%"]
NAMES = ["Ada", "Ben", "O'Neil", 'say "so"']
START = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("tenant", pa.string()),
        pa.field("words", pa.int32()),
        pa.field("score", pa.float32()),
        pa.field("start_time", TIME),
        pa.field("speakers", pa.list_(pa.string())),
        pa.field("leaf", pa.bool_()),
        pa.field("text", pa.large_string()),
        pa.field("end", pa.int64()),
    ]
)
ROWS = [
    {
        "id": f"{number:02}",
        "tenant": TENANTS[number % len(TENANTS)],
        "words": number * 7 % 23 - 3,
        "score": [None, math.nan, 0.5, -1.25, 3.0, 0.0][number % 6],
        "start_time": None if number % 7 == 0 else START + timedelta(hours=17 * number),
        "speakers": NAMES[number % 4 : number % 4 + number % 3],
        "leaf": number % 3 > 0,
        "text": ["The parser", "a_b 100%", "", "line\nbreak", "back\\slash", 'it\'s "so"'][number % 6],
        "end": number * number,
    }
    for number in range(60)
]


@pytest.fixture(scope="module", params=["as they lie", "through indexes"])
def rows(request, tmp_path_factory):
    dataset = Store(tmp_path_factory.mktemp("rows"))["events"]
    append_rows(dataset, pa.Table.from_pylist(ROWS, SCHEMA), SCHEMA, {})
    if request.param == "through indexes":
        for column, kind in (("tenant", "BITMAP"), ("words", "BTREE"), ("start_time", "BTREE"), ("leaf", "BITMAP")):
            dataset.require().native.create_scalar_index(column, kind)
    return dataset.require()


def ids(rows, where):
    """The ids of the rows that meet ``where``, as every way of asking applies it. Raises `QueryError`."""
    sql = Conditions.of(where).sql(rows.schema, "events")
    with readable_condition(sql, rows, "events"):
        return set(rows.table(["id"], sql)["id"].to_pylist())


def compared(sign, left, right):
    """A comparison in the logic of three values; NaN is the largest number, and equals itself."""
    if left is None or right is None:
        return None
    if isinstance(left, float) or isinstance(right, float):
        left, right = ((1, 0.0) if math.isnan(value) else (0, float(value)) for value in (left, right))
    return {
        "=": left == right,
        "<>": left != right,
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
    }[sign]


def like(value, pattern, flags=0):
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    regex = "".join({"%": ".*", "_": "."}.get(part) or re.escape(part[-1]) for part in parts)
    return re.fullmatch(regex, value, re.S | flags) is not None


SIGNS = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
TEXTS = st.one_of(st.sampled_from([*TENANTS, *NAMES, "The parser", "back\\slash"]), st.text("ab'\"%_\\) (", max_size=5))
PATTERNS = st.lists(st.sampled_from(["a", "b", "%", "_", "\\%", "\\_", "'"]), max_size=4).map("".join)


def quoted(value, double):
    sign = '"' if double else "'"
    return sign + value.replace(sign, sign * 2) + sign


@st.composite
def atoms(draw):
    """A comparison as SQL, and as a function of a row that gives True, False or None."""
    kind = draw(st.integers(0, 13))
    sign, text, double = draw(SIGNS), draw(TEXTS), draw(st.booleans())
    column = draw(st.sampled_from(["tenant", "text", "id"]))
    if text in SCHEMA.names:
        double = False
    if kind == 0:
        return f"{column} {sign} {quoted(text, double)}", lambda row: compared(sign, row[column], text)
    if kind == 1:
        several = draw(st.lists(TEXTS, min_size=1, max_size=4))
        sql = ", ".join(quoted(one, False) for one in several)
        negated = draw(st.booleans())
        return f"{column} {'NOT ' * negated}IN ({sql})", lambda row: (row[column] in several) != negated
    if kind == 2:
        pattern = draw(PATTERNS)
        return f"{column} LIKE {quoted(pattern, double)}", lambda row: like(row[column], pattern)
    if kind == 3:
        number = draw(st.integers(-(2**31), 2**31 - 1) | st.integers(-5, 30))
        return f"`words` {sign} {number}", lambda row: compared(sign, row["words"], number)
    if kind == 4:
        low, high = draw(st.tuples(st.integers(-9, 30), st.integers(-9, 30)))
        return f"words between {low} and {high}", lambda row: low <= row["words"] <= high
    if kind == 5:
        number, factor = draw(st.integers(-50, 50)), draw(st.integers(1, 9))
        return (
            f"{factor} * (Words - 4) + `end` % {factor} {sign} {number}",
            lambda row: compared(sign, factor * (row["words"] - 4) + row["end"] % factor, number),
        )
    if kind == 6:
        number = draw(st.sampled_from([0.5, -1.25, 3.0, 2.75]))
        return f"score {sign} {number}", lambda row: compared(sign, row["score"], number)
    if kind == 7:
        name = draw(st.sampled_from(["score", "start_time", "tenant"]))
        if draw(st.booleans()):
            return f"{name} IS NOT NULL", lambda row: row[name] is not None
        return f"{name} is null", lambda row: row[name] is None
    if kind == 8:
        moment = START + timedelta(hours=draw(st.integers(-50, 1100)))
        form = draw(st.sampled_from(["timestamp '{:%Y-%m-%d %H:%M:%S}'", "timestamp '{:%Y-%m-%dT%H:%M:%SZ}'", "'{}'"]))
        return f"start_time {sign} {form.format(moment)}", lambda row: compared(sign, row["start_time"], moment)
    if kind == 9:
        return draw(
            st.sampled_from(
                [
                    ("leaf", lambda row: row["leaf"]),
                    ("leaf = false", lambda row: not row["leaf"]),
                    ("(words > 3) = leaf", lambda row: (row["words"] > 3) == row["leaf"]),
                    ("true", lambda row: True),
                    ("FALSE", lambda row: False),
                    ("1 = 1", lambda row: True),
                    ("(score > 0) IS TRUE", lambda row: compared(">", row["score"], 0) is True),
                    ("NOT (start_time < date '2026-01-20') IS NOT TRUE", before_the_20th),
                ]
            )
        )
    if kind == 10:
        name = draw(st.sampled_from(NAMES))
        return f"array_has(speakers, {quoted(name, double)})", lambda row: name in row["speakers"]
    if kind == 11:
        number = draw(st.integers(0, 12))
        return f"length(text) {sign} {number}", lambda row: compared(sign, len(row["text"]), number)
    if kind == 12:
        return (
            f"coalesce(score, 0.25) {sign} 0.25",
            lambda row: compared(sign, 0.25 if row["score"] is None else row["score"], 0.25),
        )
    return f"score IS DISTINCT FROM {draw(st.sampled_from([0.5, 3.0]))}", None


def before_the_20th(row):
    return compared("<", row["start_time"], datetime(2026, 1, 20, tzinfo=UTC)) is True


def both_hold(left, right):
    return False if left is False or right is False else None if left is None or right is None else True


def contrary(value):
    return None if value is None else not value


def combined(children):
    """Two conditions joined, or one turned around, with what a reader would have to know by heart left out."""

    def joined(word, left, right):
        sql = f"({left[0]}) {word} ({right[0]})"
        if left[1] is None or right[1] is None:
            return sql, None
        if word.upper() == "AND":
            return sql, lambda row: both_hold(left[1](row), right[1](row))
        return sql, lambda row: contrary(both_hold(contrary(left[1](row)), contrary(right[1](row))))

    def turned(word, one):
        return f"{word} ({one[0]})", one[1] and (lambda row: contrary(one[1](row)))

    return st.one_of(
        st.builds(joined, st.sampled_from(["AND", "or", "OR", "and"]), children, children),
        st.builds(turned, st.sampled_from(["NOT", "not", "NOT NOT NOT"]), children),
    )


VALID = st.recursive(atoms(), combined, max_leaves=8)
FRAGMENTS = st.sampled_from(
    """) ( OR AND NOT true 1=1 -- /* */ ; ' " ` \\ , . * = <> IN IS NULL LIKE tenant words 'bob' "bob" bob kept()
    UNION SELECT FROM events WHERE EXISTS CASE WHEN THEN END x' b' E' N' $$ { } [ ] :: : @ ? # % \n \0 date timestamp
    ESCAPE BETWEEN || | & ^ ~ ! ANY ALL array_has(speakers, _rowid _distance coalesce( cast( as text interval
    """.split()  # noqa: SIM905 - a table is read more easily without quotes
)


@st.composite
def hostile(draw):
    """Fragments in any order, a valid condition that was damaged, or any text."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return " ".join(draw(st.lists(FRAGMENTS, max_size=14)))
    if kind == 1:
        return draw(st.text(max_size=30))
    sql = draw(VALID)[0]
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(sql)))
        end = start + draw(st.integers(0, 6))
        sql = f"{sql[:start]} {draw(FRAGMENTS)} {sql[end:] if kind == 2 else sql[start:]}"
    if draw(st.booleans()):
        return f"{sql}) OR ({draw(st.sampled_from(['true', '1=1', 'leaf', 'tenant IS NOT NULL']))}"
    return sql


def check_meaning(rows, condition, tenant):
    sql, twin = condition
    mine = {row["id"] for row in ROWS if row["tenant"] == tenant}
    answer = ids(rows, [{"tenant": tenant}, sql])
    assert answer <= mine
    if twin is not None:
        assert answer == {row["id"] for row in ROWS if row["tenant"] == tenant and twin(row) is True}
        assert ids(rows, sql) == {row["id"] for row in ROWS if twin(row) is True}


def check_boundary(rows, sql, tenant):
    mine = {row["id"] for row in ROWS if row["tenant"] == tenant}
    for where in ([{"tenant": tenant}, sql], [sql, [{"tenant": tenant}]], [{"tenant": tenant, "speaker": sql}]):
        try:
            assert ids(rows, where) <= mine
        except QueryError as error:
            assert str(error)
    assert ids(rows, {"tenant": sql}) == {row["id"] for row in ROWS if row["tenant"] == sql}


FAST = settings(max_examples=500, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
LONG = settings(FAST, max_examples=5_000)


def sayable(sql):
    return sql.encode("utf-8", "ignore").decode()


@FAST
@given(VALID, st.sampled_from(TENANTS))
def test_a_condition_means_what_python_says(rows, condition, tenant):
    check_meaning(rows, condition, tenant)


@FAST
@given(hostile().map(sayable), st.sampled_from(TENANTS))
def test_no_text_leaves_the_tenant(rows, sql, tenant):
    check_boundary(rows, sql, tenant)


@pytest.mark.slow
@LONG
@given(VALID, st.sampled_from(TENANTS))
def test_many_conditions_mean_what_python_says(rows, condition, tenant):
    check_meaning(rows, condition, tenant)


@pytest.mark.slow
@LONG
@given(hostile().map(sayable), st.sampled_from(TENANTS))
def test_none_of_many_texts_leaves_the_tenant(rows, sql, tenant):
    check_boundary(rows, sql, tenant)
