"""Two builders of one bank: whatever their clocks say, wherever one of them sleeps, the bank is the undisturbed one.

The loser ends with the exit code of `BankInUse`, every file that the bank names is there, and what was written by
whoever lost the lease is in no release.
"""

import os
import shutil
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path

import lance
import pyarrow as pa
import pytest
from many_releases import SECTIONS
from nursery import Nursery
from tiny_bank import TinyBank
from whole_recipe import OTHER_STEPS as STEPS
from whole_recipe import whole_recipe

import mnemic
from mnemic.catalogue import CATALOGUE
from mnemic.dataset import Store, lease
from mnemic.dataset.guard import NUMBER
from mnemic.dataset.process import host_identity
from mnemic.dataset.write import write_whole
from mnemic.errors import BankInUse
from pipelines.faults import POINTS

IN_USE = BankInUse.exit_code
FIRST = {"name": "first", "expires": 2.0, "heartbeat": 0.3}
SECOND = {"name": "second", "expires": 2.0, "heartbeat": 0.3}
FEW = (("read", "before-commit"), ("deduplicate", "after-write"), ("cluster", "before-commit"))


@pytest.fixture(scope="module")
def nurseries(nursery):
    with Nursery() as second:
        yield nursery, second


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A bank without a language model that nobody disturbed."""
    return TinyBank.build(tmp_path_factory.mktemp("alone"), SECTIONS)


@pytest.fixture(scope="module")
def recipe(alone):
    return alone.recipe


@pytest.fixture(scope="module")
def undisturbed(alone):
    return alone.open().digest()


class Background:
    """A build of the first nursery that goes on beside the test."""

    def __init__(self, nursery, recipe, **options):
        self.code = None
        self._nursery = nursery
        self._thread = threading.Thread(target=self._run, args=(recipe, options))
        self._thread.start()

    def _run(self, recipe, options):
        self.code, _ = self._nursery.build(recipe, **options)

    def until_stopped(self):
        """Its process, once a fault has stopped it."""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and self._thread.is_alive():
            if (process := self._nursery.stopped()) is not None:
                return process
            time.sleep(0.05)
        raise AssertionError(f"the build was not stopped, and ended with {self.code}")

    def ended(self):
        self._thread.join(300)
        return self.code


def whole(bank):
    """Every file that any version of a dataset names is there."""
    store = Store(bank)
    for name in CATALOGUE:
        snapshot = store[name].snapshot()
        if snapshot is not None:
            for path in snapshot.native.tracked_files().read_all()["path"].to_pylist():
                assert Path(bank, f"{name}.lance", path).exists(), (name, path)
    return True


def stopped_at(nurseries, recipe, step, point, until):
    """The first builder sleeps at a point, the second builds, and then the first goes on."""
    first, second = nurseries
    sleeper = Background(
        first, recipe, fault=f"{step}:{point}", environment={"MNEMIC_FAULT_SIGNAL": "STOP"}, host=FIRST, until=until
    )
    process = sleeper.until_stopped()
    try:
        assert second.build(recipe, host=SECOND, until=until)[0] == 0
    finally:
        os.kill(process, signal.SIGCONT)
    assert sleeper.ended() == IN_USE, (step, point)
    assert whole(recipe["bank"])


@pytest.mark.slow
def test_a_builder_that_sleeps_loses_and_harms_nothing(nurseries, recipe, undisturbed, place):
    """It sleeps for longer than the lease at a few points, one after another; the last sleep is before its release."""
    disturbed = {**recipe, "bank": str(place / "few")}
    for step, point in FEW:
        stopped_at(nurseries, disturbed, step, point, step)
    stopped_at(nurseries, disturbed, "release", "before-commit", None)
    bank = mnemic.open_bank(disturbed["bank"])
    assert bank.digest() == undisturbed
    assert len(bank.releases()) == 1
    assert nurseries[1].build(disturbed)[0] == 0
    assert len(mnemic.open_bank(disturbed["bank"]).releases()) == 1, "there was nothing left to do"


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(len(POINTS)))
def test_a_builder_that_sleeps_at_every_fault_point_of_every_step(nurseries, place, turn):
    """Each turn takes another of the points at each step, as a step that is done is passed no more."""
    everything = {**whole_recipe(place / "whole"), "bank": str(place / "everything")}
    if turn == 0:
        assert nurseries[0].build(everything)[0] == 0
    disturbed = {**everything, "bank": str(place / f"turn-{turn}")}
    for number, step in enumerate(STEPS):
        stopped_at(nurseries, disturbed, step, POINTS[(number + turn) % len(POINTS)], step)
    stopped_at(nurseries, disturbed, "release", ("before-commit", "after-commit")[turn % 2], None)
    assert mnemic.open_bank(disturbed["bank"]).digest() == mnemic.open_bank(everything["bank"]).digest()


@pytest.mark.parametrize("skew", [600, pytest.param(-600, marks=pytest.mark.slow)])
def test_a_builder_whose_clock_is_another_is_refused_while_the_first_lives(nursery, recipe, place, undisturbed, skew):
    """The first has written and waits, as it does for a wave, with files that no version names yet."""
    disturbed = {**recipe, "bank": str(place / f"skew{skew}")}
    waits, goes_on, codes = threading.Event(), threading.Event(), []

    def wait(event):
        if event.kind == "fragment" and event.step == "units" and not waits.is_set():
            waits.set()
            goes_on.wait(60)

    first = threading.Thread(target=lambda: mnemic.build(disturbed, device="cpu", sinks=[wait]))
    beat, lease.HEARTBEAT = lease.HEARTBEAT, 0.3
    try:
        first.start()
        assert waits.wait(120)
        codes.append(nursery.build(disturbed, host={"name": "second", "skew": skew, "heartbeat": 0.3})[0])
    finally:
        goes_on.set()
        first.join()
        lease.HEARTBEAT = beat
    assert codes == [IN_USE]
    assert whole(disturbed["bank"])
    assert mnemic.open_bank(disturbed["bank"]).digest() == undisturbed


def test_a_commit_that_a_slow_store_holds_up_for_longer_than_the_lease(nursery, recipe, place, undisturbed, tmp_path):
    """It has been asked for in time, and comes to the store when another has built on: it is refused, and told."""
    disturbed = {**recipe, "bank": str(place / "slow")}
    real, slow, codes = lance.LanceDataset.commit, [], []

    def late(uri, transaction, *args, **kwargs):
        properties = getattr(transaction, "transaction_properties", None) or {}
        if properties.get("mnemic.step") == "units" and not slow:
            slow.append(properties)
            codes.append(nursery.build(disturbed, host={**SECOND, "expires": 1.0})[0])
        return real(uri, transaction, *args, **kwargs)

    beat, expires, host = lease.HEARTBEAT, lease.EXPIRES, lease.host_identity
    lease.HEARTBEAT, lease.EXPIRES, lease.host_identity = 3600.0, 4.0, lambda: "first/boot/pids"
    lance.LanceDataset.commit = staticmethod(late)
    try:
        with pytest.raises(BankInUse, match="run the same build again"):
            mnemic.build(disturbed, device="cpu")
    finally:
        lance.LanceDataset.commit = staticmethod(real)
        lease.HEARTBEAT, lease.EXPIRES, lease.host_identity = beat, expires, host
    assert codes == [0]
    assert whole(disturbed["bank"])
    assert mnemic.open_bank(disturbed["bank"]).digest() == undisturbed


def test_a_dataset_that_a_builder_without_the_lease_makes_in_between_is_undone(recipe, place, undisturbed):
    """Lance cannot refuse the first version of a dataset; the build undoes it, and goes on."""
    disturbed = {**recipe, "bank": str(place / "born")}
    real, born = lance.LanceDataset.commit, []

    def late(uri, transaction, *args, **kwargs):
        properties = getattr(transaction, "transaction_properties", None) or {}
        if properties.get("mnemic.step") == "units" and not born:
            born.append(uri)
            schema = pa.schema([pa.field("other", pa.int64())])
            stale = Store(disturbed["bank"])["units"]
            rows = write_whole(stale, pa.table({"other": [1, 2, 3]}, schema=schema))
            stale.replace(schema, rows, {"step": "stale"}, {NUMBER: "77"})
        return real(uri, transaction, *args, **kwargs)

    lance.LanceDataset.commit = staticmethod(late)
    try:
        mnemic.build(disturbed, device="cpu")
    finally:
        lance.LanceDataset.commit = staticmethod(real)
    assert born
    assert mnemic.open_bank(disturbed["bank"]).digest() == undisturbed


def test_files_of_a_holder_who_may_live_stay_for_seven_days(nursery, recipe, place, undisturbed):
    """By the clock of the disk; those of one that was killed on this host go at once."""
    bank = shutil.copytree(recipe["bank"], place / "old")
    young, old = (Path(bank, "documents.lance", "data", name) for name in ("young.lance", "old.lance"))
    leases = Store(bank)["leases"]

    def left_by_a_builder_on(host):
        for file in (young, old):
            file.write_bytes(b"written and not committed")
        eight_days = time.time() - timedelta(days=8).total_seconds()
        os.utime(old, (eight_days, eight_days))
        values = {"holder": "'it@4194305@1'", "host": f"'{host}'", "pid": "4194305", "run": "'it'"}
        leases.require().native.update(values)

    left_by_a_builder_on("elsewhere/boot/pids")
    assert nursery.build({**recipe, "bank": str(bank)}, host={"expires": 0.5})[0] == 0
    assert young.exists() and not old.exists()
    left_by_a_builder_on(host_identity())
    assert nursery.build({**recipe, "bank": str(bank)})[0] == 0
    assert not young.exists() and not old.exists()
    assert mnemic.open_bank(str(bank)).digest() == undisturbed
