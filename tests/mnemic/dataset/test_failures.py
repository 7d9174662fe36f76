"""Whatever happens to an object store is told in a sentence, and what was committed is there when it comes back."""

import threading
import time
import traceback

import lance
import numpy as np
import pyarrow as pa
import pytest
from object_store import KEY, SECRET, object_store

from mnemic.dataset import Store, commit
from mnemic.dataset.failures import missing, told
from mnemic.dataset.growth import add_fields, commit_growth, grow
from mnemic.dataset.index import search_vector
from mnemic.dataset.lease import Lease
from mnemic.dataset.write import append, append_rows, write_rows
from mnemic.errors import BankError, BankInUse, Unreachable

SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("vector", pa.list_(pa.float32(), 4))])
ROWS = pa.table({"id": ["a", "b"], "vector": [[1.0, 0, 0, 0], [0, 1.0, 0, 0]]}, schema=SCHEMA)


@pytest.fixture(scope="module")
def remote():
    with object_store() as server:
        yield server


@pytest.fixture
def store(remote, request):
    return Store(remote.bank(request.node.name), remote.options)


@pytest.fixture
def dataset(store):
    letters = store["letters"]
    append_rows(letters, ROWS, SCHEMA, {})
    return letters


def sentence(kind, action) -> str:
    """What ``action`` raises, which must not tell a secret, nor may its traceback."""
    with pytest.raises(kind) as caught:
        action()
    assert type(caught.value) is kind
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown and KEY not in shown
    return str(caught.value)


def test_a_dataset_is_missing_only_where_lance_says_so():
    for text in (
        "Dataset at path x was not found: Not found: x/_versions",
        "Ref not found error: tag 9 does not exist",
    ):
        assert missing(ValueError(text)) and told(ValueError(text), "s3://bucket/bank/x.lance") is None
    for text in (
        "LanceError(IO): Server returned non-2xx status code: 404 Not Found: <Code>NoSuchBucket</Code>",
        "LanceError(IO): Object at location x not found: status code: 404 Not Found: ",
    ):
        assert not missing(ValueError(text))
        assert isinstance(told(ValueError(text), "s3://bucket/bank/x.lance"), BankError)


def test_answers_of_an_object_store_are_told_by_what_to_do():
    text = (
        "LanceError(IO): Generic S3 error: Error performing PUT http://h/b in 1s, after 3 retries, max_retries: 3, - "
    )
    for answer, kind, words in (
        ("Server returned non-2xx status code: 503 Slow Down: <Error>", Unreachable, "PUT h after 3 retries: 503 Slow"),
        ("Server returned non-2xx status code: 429 Too Many: ", Unreachable, "429 Too Many"),
        ("HTTP error: error sending request, /home/x.rs:1", Unreachable, "error sending request)"),
        ("Server returned non-2xx status code: 400 Bad: <Code>ExpiredToken</Code>", BankError, "AWS_SESSION_TOKEN"),
        ("Server returned non-2xx status code: 400 Bad: <Code>InvalidRequest</Code>", BankError, "400 InvalidRequest"),
        ("Received redirect without LOCATION, this indicates an incorrect region", BankError, "AWS_REGION"),
    ):
        error = told(OSError(text + answer), "s3://bucket/bank/x.lance")
        assert type(error) is kind, answer
        assert words in str(error)
        assert "s3://bucket/bank " in str(error)


def test_a_store_that_is_lost_is_a_sentence_for_whoever_reads_or_writes(remote, dataset, monkeypatch):
    snapshot = dataset.require()
    table = pa.table({"_rowid": pa.array([0, 1], pa.uint64()), "grown": [1, 2]})
    monkeypatch.setattr(commit, "ATTEMPTS", 1)
    remote.line.cut()
    try:
        for action in (
            dataset.snapshot,
            lambda: snapshot.count("id = 'a'"),
            lambda: list(snapshot.scan(["id"])),
            lambda: snapshot.table(["id"], "id = 'a'"),
            lambda: snapshot.take([0], ["id"]),
            lambda: search_vector(snapshot, "vector", "id", np.zeros(4), 1, None),
            lambda: write_rows(dataset.uri, ROWS, SCHEMA, dataset.storage_options),
            lambda: grow(dataset.uri, snapshot.version, 0, table, dataset.storage_options),
        ):
            message = sentence(Unreachable, action)
            assert "The object store that holds s3://memory/test_a_store_that_is_lost" in message
            assert message.endswith("Everything committed so far is kept: run the same command again when it does.")
    finally:
        remote.line.mend()
    assert dataset.require().count() == len(ROWS)


def test_a_store_that_is_lost_for_a_moment_is_tried_again(remote, dataset):
    remote.line.cut()
    threading.Timer(3.0, remote.line.mend).start()  # the first attempt takes about 2.5 s
    append_rows(dataset, ROWS, SCHEMA, {})
    assert dataset.require().count() == 2 * len(ROWS)


def test_a_store_that_hangs_is_not_waited_for_three_times(remote, dataset, monkeypatch):
    monkeypatch.setattr(commit, "PATIENCE", 1.0)
    hurried = Store(dataset.uri.rpartition("/")[0], {**remote.options, "read_timeout": "300ms"})["letters"]
    assert hurried.require().count() == len(ROWS)
    remote.line.hang()
    started = time.monotonic()
    try:
        sentence(Unreachable, hurried.snapshot)
    finally:
        remote.line.flow()
    assert time.monotonic() - started < 8, "six lists of 300 ms, and the pauses between them"
    assert hurried.require().count() == len(ROWS)


@pytest.mark.parametrize("retries", ["0", "3"])
def test_an_answer_that_is_lost_doubles_no_rows(remote, dataset, retries):
    again = Store(dataset.uri.rpartition("/")[0], {**remote.options, "client_max_retries": retries})["letters"]
    fragments = write_rows(again.uri, ROWS, SCHEMA, again.storage_options)
    before = again.require().version
    remote.line.lose_answer(r"PUT /\S+/_versions/")
    append(again, fragments, {})
    assert again.require().count() == 2 * len(ROWS)
    assert again.require().version == before + 1


def test_of_many_writers_none_is_lost_and_one_fragment_has_one_writer(dataset):
    """Commits are conditional puts: no writer can put its version in the place of another's."""
    with_fragments = [write_rows(dataset.uri, ROWS, SCHEMA, dataset.storage_options) for _ in range(6)]
    read, failed = dataset.require(), []

    def write(fragments) -> None:
        operation = lance.LanceOperation.Append([lance.FragmentMetadata.from_json(text) for text in fragments])
        try:
            commit.commit(dataset.uri, operation, read.version, {}, dataset.storage_options)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(fragments,)) for fragments in with_fragments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert dataset.require().count() == 7 * len(ROWS)

    snapshot = add_fields(dataset, pa.schema([pa.field("grown", pa.int64())]), {})
    table = pa.table({"_rowid": pa.array([0, 1], pa.uint64()), "grown": [1, 2]})
    first, second = (grow(dataset.uri, snapshot.version, 0, table, dataset.storage_options) for _ in range(2))
    commit_growth(dataset, snapshot.version, [first], {})
    with pytest.raises(OSError, match="conflict"):
        commit_growth(dataset, snapshot.version, [second], {})


def test_of_many_claimants_of_the_lease_exactly_one_wins(store):
    won, lost, leave, barrier = [], [], threading.Event(), threading.Barrier(4)

    def claim(name: str) -> None:
        barrier.wait()
        try:
            with Lease(store["leases"], name):
                won.append(name)
                leave.wait(20)
        except BankInUse as error:
            lost.append(str(error))
        if len(lost) == 3:
            leave.set()

    threads = [threading.Thread(target=claim, args=(f"run{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and len(lost) == 3
    assert all(f"run {won[0]}," in message for message in lost)


def test_a_lease_is_not_waited_for_where_the_store_was_lost(remote, store):
    with pytest.raises(Unreachable, match="lost"), Lease(store["leases"], "first"):
        remote.line.cut()
        started = time.monotonic()
        raise Unreachable("lost")
    assert time.monotonic() - started < 1
    remote.line.mend()
    with Lease(store["leases"], "heir"):
        pass


def test_wrong_credentials_and_a_missing_bucket_say_what_to_check(remote, dataset):
    snapshot = dataset.require()
    with remote.credentials_checked():
        for action in (dataset.snapshot, lambda: list(snapshot.scan(["id"]))):
            message = sentence(BankError, action)
            assert "refused the access (403 InvalidAccessKeyId" in message and "Check AWS_ACCESS_KEY_ID" in message
    nowhere = Store("s3://no-such-bucket/bank", remote.options)["letters"]
    assert "has no bucket no-such-bucket" in sentence(BankError, lambda: append_rows(nowhere, ROWS, SCHEMA, {}))


def test_sizes_are_told_by_the_manifest(dataset, remote):
    stored = sum(len(data) for key, data in remote.objects() if dataset.uri.partition("memory/")[2] + "/data" in key)
    assert dataset.require().data_bytes == stored > 0
