"""A builder that sleeps between its question and its commit changes nothing once another has claimed the lease."""

import lance
import pyarrow as pa
import pytest

from mnemic.dataset import Store
from mnemic.dataset import lease as lease_module
from mnemic.dataset.commit import Conflict
from mnemic.dataset.fence import Fence
from mnemic.dataset.growth import add_fields, commit_growth, drop_fields, grow
from mnemic.dataset.guard import NUMBER
from mnemic.dataset.index import build_indexes
from mnemic.dataset.lease import Lease
from mnemic.dataset.write import append, append_rows, write_rows, write_whole
from mnemic.errors import BankInUse

SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("text", pa.string(), nullable=False)])
GROWN = pa.schema([pa.field("grown", pa.int64())])


def rows(*names):
    return pa.table({"id": names, "text": [f"the text of {name}" for name in names]}, schema=SCHEMA)


class Builders:
    """Builders of one bank, each on a host of its own, whose hearts do not beat by themselves."""

    def __init__(self, place, monkeypatch):
        self.place, self._patch, self._leases = place, monkeypatch, []
        monkeypatch.setattr(lease_module, "EXPIRES", 0.2)
        monkeypatch.setattr(lease_module, "HEARTBEAT", 60.0)

    def claim(self, name, datasets=("letters", "born")):
        """The bank as the next builder has it."""
        self._patch.setattr(lease_module, "host_identity", lambda: f"{name}/boot/pids")
        lease = Lease(Store(self.place)["leases"], name)
        lease.__enter__()
        self._leases.append(lease)
        fence = Fence(lease)
        store = Store(self.place).guarded(fence)
        fence.take_over([store[dataset] for dataset in datasets])
        return store

    def end(self):
        for lease in self._leases:
            lease.__exit__(None, None, None)


@pytest.fixture
def builders(tmp_path, monkeypatch):
    builders = Builders(tmp_path, monkeypatch)
    yield builders
    monkeypatch.undo()
    builders.end()


@pytest.fixture
def first(builders):
    """The bank of a builder, with two letters of which one has a grown value."""
    store = builders.claim("first")
    append_rows(store["letters"], rows("a", "b"), SCHEMA, {})
    add_fields(store["letters"], GROWN, {"step": "before"})
    return store


def asleep(monkeypatch, owner, name, meanwhile):
    """The next call of ``owner.name`` begins with ``meanwhile``: its caller has asked, and sleeps before it acts."""
    real, calls = getattr(owner, name), []

    def late(*args, **kwargs):
        calls.append(name)
        if len(calls) == 1:
            meanwhile()
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, late)


def appended(store):
    append(store["letters"], write_rows(store["letters"].uri, rows("stale"), SCHEMA), {})


def replaced(store):
    letters = store["letters"]
    letters.replace(SCHEMA, write_whole(letters, rows("stale")), {"step": "stale"}, {})


def grown(store):
    letters = store["letters"]
    version = letters.require().version
    table = pa.table({"_rowid": pa.array([0, 1], pa.uint64()), "grown": [7, 8]})
    commit_growth(letters, version, [grow(letters.uri, version, 0, table)], {})


def annotated(store):
    store["letters"].annotate({"step": "stale"})


CHANGES = {
    "append": (appended, lance.LanceDataset, "commit"),
    "replace": (replaced, lance.LanceDataset, "commit"),
    "growth": (grown, lance.LanceDataset, "commit"),
    "annotate": (annotated, lance.LanceDataset, "commit"),
    "index": (lambda store: build_indexes(store["letters"]), lance.LanceDataset, "commit"),
    "delete": (lambda store: store["letters"].delete("id = 'a'"), lance.LanceDataset, "delete"),
    "new column": (
        lambda store: add_fields(store["letters"], pa.schema([pa.field("more", pa.int64())]), {}),
        lance.LanceDataset,
        "add_columns",
    ),
    "dropped column": (lambda store: drop_fields(store["letters"], ["grown"]), lance.LanceDataset, "drop_columns"),
}


def state(store):
    letters = store["letters"].require()
    return letters.table(letters.schema.names).to_pylist(), letters.record, letters.schema.names


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_was_begun_under_a_lost_lease_is_refused(builders, first, monkeypatch, change):
    act, owner, name = CHANGES[change]
    heir = []

    def takes_over():
        heir.append(builders.claim("second"))
        append_rows(heir[0]["letters"], rows("c"), SCHEMA, {})
        heir.append(state(heir[0]))

    asleep(monkeypatch, owner, name, takes_over)
    with pytest.raises(BankInUse, match="expired while this build was stopped"):
        act(first)
    assert state(heir[0]) == heir[1], "what the second builder had stands as it was"
    append_rows(heir[0]["letters"], rows("d"), SCHEMA, {})
    assert [row["id"] for row in state(heir[0])[0]] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_not_begun_under_a_lost_lease(builders, first, change):
    heir = builders.claim("second")
    before = state(heir)
    with pytest.raises(BankInUse):
        CHANGES[change][0](first)
    assert state(heir) == before


def test_everything_that_is_committed_bears_the_number_of_its_claim(builders, first):
    assert first.guard.number == 1
    heir = builders.claim("second")
    append_rows(heir["letters"], rows("c"), SCHEMA, {})
    letters = heir["letters"].require()
    numbers = [properties.get(NUMBER) for properties in letters.properties_backwards()]
    assert numbers[0] == "2" and "1" in numbers


def test_a_claim_after_a_release_or_a_proven_death_adds_no_version(builders, first, monkeypatch):
    versions = {name: first[name].require().version for name in ("letters",)}
    builders.end()
    for name in ("second", "third"):
        store = builders.claim(name)
        assert {name: store[name].require().version for name in versions} == versions
        builders.end()


def test_a_fence_that_was_not_finished_is_the_next_claimants_matter(builders, first, monkeypatch):
    """Although the one who began it gave the lease back: the builder of before may still commit."""
    with monkeypatch.context() as broken, pytest.raises(OSError, match="not now"):
        broken.setattr(Fence, "_fenced", refuse)
        builders.claim("second")
    builders._leases.pop().__exit__(None, None, None)
    version = first["letters"].require().version
    third = builders.claim("third")
    assert third["letters"].require().version == version + 1
    builders._leases.pop().__exit__(None, None, None)
    builders.claim("fourth")
    assert third["letters"].require().version == version + 1


def refuse(*args):
    raise OSError("not now")


def test_progress_in_the_properties_of_commits_survives_a_fence(builders, first):
    letters = first["letters"]
    append(letters, write_rows(letters.uri, rows("c"), SCHEMA), {"part": "3"})
    heir = builders.claim("second")
    assert heir["letters"].require().version == letters.require().version
    assert next(iter(heir["letters"].require().properties_backwards()))["part"] == "3"


def test_a_dataset_born_of_a_lost_lease_is_emptied_before_anything_builds_on_it(builders, first, monkeypatch):
    heir = builders.claim("second")
    # the first builder's commit was on its way for so long, to a dataset that nobody had: Lance cannot refuse it
    Store(builders.place)["born"].replace(
        SCHEMA, write_whole(first["born"], rows("stale")), {"step": "stale"}, {NUMBER: "1"}
    )
    with pytest.raises(Conflict, match=r"changed born at the same time. It was undone"):
        heir.guard.undo([heir["letters"], heir["born"]])
    assert heir["born"].require().count() == 0
    assert heir["born"].require().record == {}
    append_rows(heir["born"], rows("mine"), SCHEMA, {})
    heir.guard.undo([heir["letters"], heir["born"]])
    assert heir["born"].require().table(["id"])["id"].to_pylist() == ["mine"]


def test_a_birth_that_comes_between_is_undone_and_the_commit_can_be_tried_again(builders, first, monkeypatch):
    heir = builders.claim("second")

    def is_born():
        Store(builders.place)["born"].replace(SCHEMA, write_whole(first["born"], rows("stale")), {}, {NUMBER: "1"})

    asleep(monkeypatch, lance.LanceDataset, "commit", is_born)
    with pytest.raises(Conflict, match=r"changed born at the same time. It was undone.* run the same build again"):
        append_rows(heir["born"], rows("mine"), SCHEMA, {})
    append_rows(heir["born"], rows("mine"), SCHEMA, {})
    assert heir["born"].require().table(["id"])["id"].to_pylist() == ["mine"]


def late_fence(store, version, number):
    """What a claimant commits that slept in the middle of fencing: Lance does not refuse it."""
    letters = Store(store.root)["letters"]
    letters.commit(lance.LanceOperation.Restore(version), version, {NUMBER: str(number)})


def test_a_late_fence_is_undone_by_the_holder(builders, first):
    version = first["letters"].require().version
    heir = builders.claim("second")
    append_rows(heir["letters"], rows("c"), SCHEMA, {})
    late_fence(heir, version, 1)
    assert heir["letters"].require().count() == 2
    with pytest.raises(Conflict, match="It was undone"):
        append_rows(heir["letters"], rows("d"), SCHEMA, {})
    append_rows(heir["letters"], rows("d"), SCHEMA, {})
    assert [row["id"] for row in state(heir)[0]] == ["a", "b", "c", "d"]


def test_a_late_fence_is_undone_by_the_next_claimant(builders, first):
    version = first["letters"].require().version
    heir = builders.claim("second")
    append_rows(heir["letters"], rows("c"), SCHEMA, {})
    builders._leases[-1].__exit__(None, None, None)
    late_fence(heir, version, 1)
    third = builders.claim("third")
    assert [row["id"] for row in state(third)[0]] == ["a", "b", "c"]


def test_a_bank_that_lost_its_lease_row_goes_on_with_larger_numbers(builders, first):
    """A copy without it: numbers of old commits must stay smaller than those of new ones."""
    import shutil

    heir = builders.claim("second")
    append_rows(heir["letters"], rows("c"), SCHEMA, {})
    builders.end()
    builders._leases.clear()
    shutil.rmtree(builders.place / "leases.lance")
    third = builders.claim("third")
    assert third.guard.number == 3
    append_rows(third["letters"], rows("d"), SCHEMA, {})
    assert [row["id"] for row in state(third)[0]] == ["a", "b", "c", "d"]


def test_files_listed_before_the_loss_of_a_lease_are_not_deleted_after_it(builders, first, monkeypatch, tmp_path):
    from mnemic.dataset import store as store_module

    letters, heir = first["letters"], []
    write_rows(letters.uri, rows("nobody's"), SCHEMA)
    real = store_module.orphaned

    def listed(*args):
        files = real(*args)
        heir.append(builders.claim("second"))
        heir.append(write_rows(letters.uri, rows("c"), SCHEMA))
        return files

    monkeypatch.setattr(store_module, "orphaned", listed)
    with pytest.raises(BankInUse):
        letters.remove_orphans()
    append(heir[0]["letters"], heir[1], {})
    assert [row["id"] for row in state(heir[0])[0]] == ["a", "b", "c"]


def test_files_that_a_later_holder_writes_are_never_on_the_list(builders, first, monkeypatch):
    """Even a builder that sleeps after its last question deletes what lay there before, and nothing else."""
    from mnemic.dataset import store as store_module

    letters, heir = first["letters"], []
    write_rows(letters.uri, rows("nobody's"), SCHEMA)
    real = store_module.delete_files

    def late(*args):
        heir.append(builders.claim("second"))
        append(heir[0]["letters"], write_rows(letters.uri, rows("c"), SCHEMA), {})
        heir.append(write_rows(letters.uri, rows("d"), SCHEMA))
        return real(*args)

    monkeypatch.setattr(store_module, "delete_files", late)
    letters.remove_orphans()
    append(heir[0]["letters"], heir[1], {})
    assert [row["id"] for row in state(heir[0])[0]] == ["a", "b", "c", "d"]


def test_tags_that_were_moved_are_put_back_before_versions_are_dropped(builders, first):
    from datetime import timedelta

    letters = first["letters"]
    pinned = letters.require().version
    letters.tag("2026.11.21", pinned)
    append_rows(letters, rows("c"), SCHEMA, {})
    Store(builders.place)["letters"].tag("2026.11.21", letters.require().version)  # by a builder without the lease
    append_rows(letters, rows("d"), SCHEMA, {})
    letters.retag({"2026.11.21": pinned, "2026.11.20": 9999})
    letters.forget_before(timedelta(0))
    assert letters.require(pinned).count() == 2


def test_a_guard_stays_in_its_process(first):
    import cloudpickle

    store, letters = cloudpickle.loads(cloudpickle.dumps((first, first["letters"])))
    assert store.guard is None and letters.guard is None and store["letters"].guard is None
    assert letters.require().count() == 2
