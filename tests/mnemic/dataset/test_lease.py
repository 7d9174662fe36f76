"""One writer a bank."""

import os
import signal
import subprocess
import sys
import threading
import time

import pyarrow as pa
import pytest

from mnemic.dataset import Store
from mnemic.dataset import lease as module
from mnemic.dataset.lease import EXPIRES, Lease
from mnemic.dataset.write import append_rows, write_whole
from mnemic.errors import BankInUse
from mnemic.schema import LEASES


@pytest.fixture
def dataset(tmp_path):
    return Store(tmp_path)["leases"]


def test_a_second_builder_is_refused_and_told_who_holds_the_bank(dataset):
    with (
        Lease(dataset, "first"),
        pytest.raises(BankInUse, match=rf"process {os.getpid()} .*run first"),
        Lease(dataset, "second"),
    ):
        pass
    with Lease(dataset, "third"):
        pass


def test_of_many_claimants_exactly_one_wins(dataset):
    with Lease(dataset, "makes the row"):
        pass
    won, barrier, leave = [], threading.Barrier(6), threading.Event()

    def claim(name: str) -> None:
        barrier.wait()
        try:
            with Lease(dataset, name):
                won.append(name)
                leave.wait(20)
        except BankInUse:
            leave.set() if len(won) == 0 else None

    threads = [threading.Thread(target=claim, args=(f"run{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    leave.set()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_claimant_that_saw_no_row_yet_does_not_replace_one_that_is_held(dataset, monkeypatch):
    with Lease(dataset, "first"):
        looks, look = [], type(dataset).snapshot

        def late(self, version=None):
            looks.append(version)
            return None if len(looks) <= 2 else look(self, version)

        monkeypatch.setattr(type(dataset), "snapshot", late)
        with pytest.raises(BankInUse, match="run first"), Lease(dataset, "second"):
            pass
        assert len(looks) > 2


def holding_elsewhere(place):
    """Another process that holds the lease."""
    code = (
        "import sys, time; from mnemic.dataset import Store; from mnemic.dataset.lease import Lease\n"
        f"lease = Lease(Store({str(place)!r})['leases'], 'dies'); lease.__enter__(); "
        "print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "held"
    return process


def test_the_lease_of_a_killed_builder_on_this_host_is_free_at_once(dataset, tmp_path):
    process = holding_elsewhere(tmp_path)
    began = time.monotonic()
    with pytest.raises(BankInUse), Lease(dataset, "early"):
        pass
    process.kill()
    process.wait()
    with Lease(dataset, "heir") as heir:
        assert heir.settled
    assert time.monotonic() - began < 10


@pytest.fixture
def elsewhere(dataset, monkeypatch):
    """A lease that is held on another host; whether its heart beats is the test's matter."""
    leases = []

    def claim(beat):
        with monkeypatch.context() as there:
            there.setattr(module, "host_identity", lambda: "elsewhere/boot/pids")
            leases.append(Lease(dataset, "far away"))
        monkeypatch.setattr(module, "HEARTBEAT", beat)
        leases[0].__enter__()
        return leases[0]

    yield claim
    leases[0].__exit__(None, None, None)


@pytest.mark.parametrize("skew", [-600, -130, 0, 130, 600])
def test_a_builder_elsewhere_that_lives_is_left_alone_whatever_the_clocks_say(dataset, elsewhere, monkeypatch, skew):
    lease = elsewhere(beat=0.1)
    real, messages = time.time, []
    monkeypatch.setattr(module.time, "time", lambda: real() + skew)
    with pytest.raises(BankInUse, match=r"elsewhere \(run far away"), Lease(dataset, "near", messages.append):
        pass
    assert "taken over in 120 s if no sign of life comes" in messages[0]
    lease.confirm()


@pytest.mark.parametrize("skew", [-600, 0, 600])
def test_the_lease_of_a_builder_elsewhere_that_gives_no_sign_of_life_expires(dataset, elsewhere, monkeypatch, skew):
    lease = elsewhere(beat=3600.0)
    real = time.time
    monkeypatch.setattr(module, "EXPIRES", 0.5)
    monkeypatch.setattr(module.time, "time", lambda: real() + skew)
    began = time.monotonic()
    with Lease(dataset, "near") as near:
        assert time.monotonic() - began >= 0.5
        assert not near.settled, "nobody knows whether it is dead"
        assert near.number == lease.number + 1
        monkeypatch.setattr(module, "EXPIRES", 3600.0)  # by its own clock it may go on
        monkeypatch.setattr(module.time, "time", real)
        lease.check()
        with pytest.raises(BankInUse, match="run near\\) has claimed it since"):
            lease.confirm()
        with pytest.raises(BankInUse, match="expired"):
            lease.check()


def test_a_claimant_that_waits_gets_a_lease_that_is_given_back(dataset, elsewhere):
    lease = elsewhere(beat=3600.0)
    threading.Timer(0.5, lambda: lease.__exit__(None, None, None)).start()
    module_beat, module.HEARTBEAT = module.HEARTBEAT, 0.5  # looks at the row five times in that time
    try:
        with Lease(dataset, "near") as near:
            assert near.settled
    finally:
        module.HEARTBEAT = module_beat


def test_a_builder_that_was_suspended_goes_on_where_nobody_has_claimed(dataset, monkeypatch):
    """The time in which it was stopped counts; then the row is asked."""
    monkeypatch.setattr(module, "HEARTBEAT", 3600.0)
    with Lease(dataset, "sleeper") as lease:
        before = dataset.require().version
        lease.check()
        assert dataset.require().version == before, "no question to the row while the lease is fresh"
        real = module.clock
        monkeypatch.setattr(module, "clock", lambda: real() + EXPIRES)
        lease.check()
        assert dataset.require().version == before + 1
        dataset.require().native.update({"holder": "'another'"})
        monkeypatch.setattr(module, "clock", lambda: real() + 2 * EXPIRES)
        with pytest.raises(BankInUse, match="expired"):
            lease.check()


def test_the_lease_of_a_stopped_process_of_this_host_expires_too(dataset, tmp_path, monkeypatch):
    process = holding_elsewhere(tmp_path)
    with pytest.raises(BankInUse, match="run dies"), Lease(dataset, "early"):
        pass
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr(module, "EXPIRES", 0.5)
    with Lease(dataset, "heir") as heir:
        assert not heir.settled
    process.kill()
    process.wait()


def test_a_row_of_before_there_were_numbers_gets_them(dataset):
    old = pa.schema([field for field in LEASES if field.name not in ("number", "unfenced", "uptime")])
    row = {"name": "bank", "holder": "", "host": "", "pid": 0, "run": "", "heartbeat": 0.0}
    append_rows(dataset, pa.Table.from_pylist([row], schema=old), old, {})
    for number in (1, 2):
        with Lease(dataset, f"run {number}") as lease:
            assert (lease.number, lease.settled) == (number, True)
    row_now = {**row, "holder": "ended@1@1", "host": "elsewhere", "run": "old", "pid": 1, "heartbeat": 7.0}
    dataset.replace(old, write_whole(dataset, pa.Table.from_pylist([row_now], schema=old)), {}, {})
    module_expires, module.EXPIRES = module.EXPIRES, 0.3
    try:
        with Lease(dataset, "heir") as heir:
            assert not heir.settled
    finally:
        module.EXPIRES = module_expires


def test_a_builder_whose_heartbeat_fails_may_not_commit(dataset, monkeypatch):
    """Whatever the error is: the next beat is tried, and a lease that was not renewed in time is not trusted."""
    monkeypatch.setattr(module, "HEARTBEAT", 0.02)
    monkeypatch.setattr(module, "EXPIRES", 0.3)
    with Lease(dataset, "unlucky") as lease:
        monkeypatch.setattr(lease, "_update", lambda *_: (_ for _ in ()).throw(RuntimeError("who knows")))
        lease.check()
        time.sleep(0.4)
        with pytest.raises(BankInUse, match="expired"):
            lease.check()
        monkeypatch.undo()


def test_a_builder_that_lost_its_lease_may_not_commit(dataset, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT", 0.05)
    with Lease(dataset, "sleeper") as lease:
        lease.check()
        dataset.require().native.update({"holder": "'another'"})
        deadline = time.time() + 10
        while not lease._lost.is_set() and time.time() < deadline:
            time.sleep(0.02)
        with pytest.raises(BankInUse, match="expired"):
            lease.check()
