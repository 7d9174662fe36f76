"""The hashes of a release's files are the same whoever reads them."""

import pytest

from mnemic.dataset.checksums import hash_files
from pipelines import pins
from pipelines.engine.inline import InlineEngine
from pipelines.pins import _hashed, _shares


class Here:
    """What hashing asks of a step's context."""

    def __init__(self, store) -> None:
        self.store, self.engine, self.jobs = store, InlineEngine(), []

    def job(self, factory, resources, describe):
        from pipelines.engine import Job

        self.jobs.append(describe)
        return Job("release", factory, resources, describe)


@pytest.mark.parametrize("here", [0, 200, 1 << 30])
def test_workers_hash_what_this_process_would(here, tmp_path, monkeypatch) -> None:
    from mnemic.dataset import Store

    files = {f"a.lance/data/{number}.lance": 10 + number for number in range(30)}
    for path, size in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(bytes(range(size)))
    store = Store(str(tmp_path))
    monkeypatch.setattr(pins, "HASHED_HERE", here)
    context = Here(store)
    assert _hashed(context, files) == hash_files(store, files)
    assert bool(context.jobs) == (sum(files.values()) > here)


def test_shares_hold_every_file_once_and_are_small(monkeypatch) -> None:
    monkeypatch.setattr(pins, "HASHED_HERE", 400)
    monkeypatch.setattr(pins, "MOST_FILES", 7)
    shares = list(_shares({str(number): number * 10 for number in range(40)}))
    assert [path for share in shares for path in share] == [str(number) for number in range(40)]
    assert max(map(len, shares)) <= 7
    assert all(sum(int(path) * 10 for path in share[:-1]) <= 100 for share in shares)
