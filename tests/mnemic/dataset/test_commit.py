"""A commit lands exactly once, whatever the disk or the network answers."""

import lance
import pyarrow as pa
import pytest

from mnemic.dataset import Store
from mnemic.dataset.snapshot import FORMAT_KEY
from mnemic.dataset.write import append, append_rows, write_rows
from mnemic.errors import BankError, NoSpace
from mnemic.schema import FORMAT_VERSION

SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False)])
ROWS = pa.table({"id": ["a", "b"]}, schema=SCHEMA)


def test_a_first_version_that_is_being_written_is_none_yet_and_one_that_is_lost_is_damage(tmp_path):
    letters = Store(tmp_path)["letters"]
    versions = tmp_path / "letters.lance" / "_versions"
    versions.mkdir(parents=True)
    for name in (".tmpmdmihk", "18446744073709551614.manifest#1"):
        (versions / name).write_bytes(b"the first bytes of")
        assert letters.snapshot() is None
    (versions / "18446744073709551614.manifest").write_bytes(b"")
    with pytest.raises(BankError, match="is there and cannot be read"):
        letters.snapshot()


@pytest.fixture
def dataset(tmp_path):
    letters = Store(tmp_path)["letters"]
    letters.create(SCHEMA, {}, {})
    return letters


def answer_lost(monkeypatch, times: int, lands: bool):
    """The next ``times`` commits raise an I/O error, after having landed or before."""
    real, left = lance.LanceDataset.commit, [times]

    def commit(*args, **kwargs):
        if left[0]:
            left[0] -= 1
            if lands:
                real(*args, **kwargs)
            raise OSError("connection reset by peer")
        return real(*args, **kwargs)

    monkeypatch.setattr(lance.LanceDataset, "commit", commit)


def test_a_commit_whose_answer_was_lost_is_not_repeated(dataset, monkeypatch):
    fragments = write_rows(dataset.uri, ROWS, SCHEMA)
    answer_lost(monkeypatch, times=1, lands=True)
    assert append(dataset, fragments, {}).count() == 2
    assert dataset.require().count() == 2


def test_a_commit_that_did_not_land_is_tried_again(dataset, monkeypatch):
    fragments = write_rows(dataset.uri, ROWS, SCHEMA)
    answer_lost(monkeypatch, times=2, lands=False)
    assert append(dataset, fragments, {}).count() == 2


def test_the_third_failure_is_told(dataset, monkeypatch):
    fragments = write_rows(dataset.uri, ROWS, SCHEMA)
    answer_lost(monkeypatch, times=3, lands=False)
    with pytest.raises(OSError, match="connection reset"):
        append(dataset, fragments, {})
    assert dataset.require().count() == 0


def test_transactions_say_which_step_and_run_made_them(dataset):
    append(dataset, write_rows(dataset.uri, ROWS, SCHEMA), {"mnemic.step": "read", "mnemic.run": "r1"})
    snapshot = dataset.require()
    properties = snapshot.native.read_transaction(snapshot.version).transaction_properties
    assert properties["mnemic.step"] == "read"
    assert properties["mnemic.run"] == "r1"


def test_files_of_a_killed_writer_go_and_everything_committed_stays(dataset, tmp_path):
    append(dataset, write_rows(dataset.uri, ROWS, SCHEMA), {})
    write_rows(dataset.uri, ROWS, SCHEMA)  # written, never committed
    files = list((tmp_path / "letters.lance" / "data").iterdir())
    versions = dataset.require().version
    assert dataset.remove_orphans() > 0
    assert len(list((tmp_path / "letters.lance" / "data").iterdir())) == len(files) - 1
    assert dataset.require(versions).count() == 2
    assert dataset.require(versions - 1).count() == 0
    assert dataset.remove_orphans() == 0


def test_no_space_left_is_a_sentence_and_keeps_what_is_committed(dataset, monkeypatch):
    append(dataset, write_rows(dataset.uri, ROWS, SCHEMA), {})

    def full(*args, **kwargs):
        raise OSError("LanceError(IO): No space left on device (os error 28)")

    monkeypatch.setattr("mnemic.dataset.write.write_fragments", full)
    with pytest.raises(NoSpace, match="free some space"):
        write_rows(dataset.uri, ROWS, SCHEMA)
    assert dataset.require().count() == 2


def test_a_newer_bank_format_is_refused(dataset):
    newer = SCHEMA.with_metadata({FORMAT_KEY: str(FORMAT_VERSION + 1).encode()})
    lance.write_dataset(ROWS.cast(newer), dataset.uri, mode="overwrite")
    with pytest.raises(BankError, match="Upgrade mnemic"):
        dataset.require()


def test_a_version_that_does_not_exist_is_a_sentence(dataset):
    with pytest.raises(BankError, match="no version 99"):
        dataset.require(99)


def test_bookkeeping_rows_make_their_dataset(tmp_path):
    runs = Store(tmp_path)["runs"]
    append_rows(runs, ROWS, SCHEMA, {})
    append_rows(runs, ROWS, SCHEMA, {})
    assert runs.require().count() == 4


def test_a_dataset_that_cannot_be_read_is_not_taken_for_a_missing_one(tmp_path, monkeypatch):
    """Else an append would begin the dataset anew: the releases of a bank were gone after one lost connection."""
    dataset = Store(tmp_path)["runs"]
    append_rows(dataset, ROWS, SCHEMA, {})
    opened = lance.dataset
    failures = [1]

    def flaky(*arguments, **options):
        if failures[0]:
            failures[0] -= 1
            raise ValueError("LanceError(IO): connection reset")
        return opened(*arguments, **options)

    monkeypatch.setattr(lance, "dataset", flaky)
    append_rows(dataset, ROWS, SCHEMA, {})
    assert dataset.require().count() == 2 * len(ROWS), "one failure is tried again"
    failures[0] = 99
    with pytest.raises(BankError, match="is there and cannot be read"):
        append_rows(dataset, ROWS, SCHEMA, {})
    failures[0] = 0
    assert dataset.require().count() == 2 * len(ROWS)


def test_a_commit_is_not_repeated_while_nobody_knows_whether_it_landed(dataset, monkeypatch):
    """The answer is lost, and so is the connection over which one would look: the rows must not come twice."""
    fragments = write_rows(dataset.uri, ROWS, SCHEMA)
    read = dataset.require()
    monkeypatch.setattr(type(dataset), "require", lambda self, version=None: read)
    opened, failures = lance.dataset, [2]

    def flaky(*arguments, **options):
        if failures[0]:
            failures[0] -= 1
            raise ValueError("LanceError(IO): connection reset")
        return opened(*arguments, **options)

    answer_lost(monkeypatch, 1, lands=True)
    monkeypatch.setattr(lance, "dataset", flaky)
    append(dataset, fragments, {})
    monkeypatch.undo()
    assert failures[0] == 0
    assert dataset.require().count() == len(ROWS)
