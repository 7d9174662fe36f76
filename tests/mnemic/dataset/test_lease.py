"""One writer a bank."""

import os
import subprocess
import sys
import threading
import time

import pytest

from mnemic.dataset import Store
from mnemic.dataset import lease as module
from mnemic.dataset.lease import EXPIRES, Lease
from mnemic.errors import BankInUse


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


def test_the_lease_of_a_killed_builder_on_this_host_is_free_at_once(dataset, tmp_path):
    code = (
        "import sys, time; from mnemic.dataset import Store; from mnemic.dataset.lease import Lease\n"
        f"lease = Lease(Store({str(tmp_path)!r})['leases'], 'dies'); lease.__enter__(); "
        "print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "held"
    with pytest.raises(BankInUse), Lease(dataset, "early"):
        pass
    process.kill()
    process.wait()
    with Lease(dataset, "heir"):
        pass


def test_the_lease_of_a_builder_elsewhere_expires(dataset, monkeypatch):
    monkeypatch.setattr(module, "host_identity", lambda: "elsewhere")
    other = Lease(dataset, "far away")
    other.__enter__()
    monkeypatch.undo()
    with pytest.raises(BankInUse, match="elsewhere"), Lease(dataset, "near"):
        pass
    clock = time.time
    monkeypatch.setattr(module.time, "time", lambda: clock() + EXPIRES + 1)
    with Lease(dataset, "near"):
        pass
    monkeypatch.undo()
    other.__exit__(None, None, None)


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
