"""Documents by the beginnings of their ids."""

import pyarrow as pa
import pytest

from mnemic.dataset import Store
from mnemic.dataset.write import append_rows
from mnemic.errors import QueryError
from mnemic.ids import hash_parts
from pipelines.upkeep.chosen import _whole_ids

SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False)])
IDS = sorted(["abcd" + "0" * 28, "abcd" + "1" * 28, *(hash_parts(number) for number in range(300))])


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    """An early state, and a later one in which two of its documents have gone and others have come."""
    dataset = Store(str(tmp_path_factory.mktemp("bank")))["documents"]
    append_rows(dataset, pa.table({"id": IDS[:200]}, SCHEMA), SCHEMA, {})
    early = dataset.require()
    dataset.delete_keys("id", IDS[:2])
    append_rows(dataset, pa.table({"id": IDS[200:]}, SCHEMA), SCHEMA, {})
    return [dataset.require(), early]


@pytest.mark.parametrize("length", [8, 17, 32])
def test_beginnings_of_any_length_are_whole_ids_of_any_state(snapshots, length):
    chosen = [name for name in IDS if sum(other.startswith(name[:length]) for other in IDS) == 1][::7]
    beginnings = [name[: length + number % 2] for number, name in enumerate(chosen)]
    assert _whole_ids(snapshots, [*beginnings, *beginnings[:2]], "bank") == chosen
    assert _whole_ids(snapshots, [], "bank") == []


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [("abcd", "Several documents"), ("a" * 40, "No document"), (IDS[0] + "0", "No document"), ("ABCD", "no id")],
)
def test_what_is_no_beginning_of_one_id_is_refused(snapshots, wrong, fault):
    with pytest.raises(QueryError, match=fault):
        _whole_ids(snapshots, [IDS[5], wrong], "bank")
