"""Conditions on values of a bank, against Python's own `in`; values may be none, and hostile."""

import lance
import pyarrow as pa
import pytest

from mnemic.quoting import one_of, parts_of

NAMES = ["a", "b", "it's", "') OR TRUE --", "", "FALSE"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return lance.write_dataset(pa.table({"name": NAMES}), tmp_path_factory.mktemp("quoting") / "names.lance")


@pytest.mark.parametrize("values", [[], ["a"], ["it's", "') OR TRUE --"], ["c"], NAMES], ids=str)
def test_the_rows_are_those_whose_value_is_among_them(dataset, values):
    condition = one_of("name", values)
    expected = [name for name in NAMES if name in values]
    assert dataset.to_table(filter=condition)["name"].to_pylist() == expected
    assert dataset.to_table(filter=f"name != 'a' AND {condition}")["name"].to_pylist() == [
        name for name in expected if name != "a"
    ]
    assert dataset.count_rows(f"NOT ({condition})") == len(NAMES) - len(expected)


def test_parts_together_are_all_values():
    parts = list(parts_of("name", [str(number) for number in range(2001)]))
    assert len(parts) == 3
    assert "'1999'" in parts[1] and parts[2] == "name IN ('2000')"
    assert list(parts_of("name", [])) == []
