"""The life of a bank in an object store: the same words, the same promises."""

import pytest
from object_store import object_store

import mnemic
from mnemic.dataset import Store
from mnemic.verify import verify


@pytest.fixture(scope="module")
def remote():
    with object_store() as server:
        yield server


@pytest.mark.slow
def test_a_release_goes_there_lives_there_and_comes_back(months, remote, tmp_path):
    options, place, name = remote.options, remote.bank("months"), months.names[-1]
    there = []

    def broken(done, total):
        there.append(done)
        if done == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mnemic.copy(months.bank, place, release=name, storage_options=options, progress=broken)
    copied = mnemic.copy(months.bank, place, release=name, storage_options=options)
    assert copied.releases == (name,) and copied.there == len(there) == 40
    store = Store(place, options)
    assert mnemic.open_bank(place, storage_options=options).digest() == months.digests[name]

    merged = mnemic.compact(place, storage_options=options)
    plan = mnemic.prune(place, keep=1, keep_monthly=0, dry_run=True, storage_options=options)
    assert mnemic.prune(place, keep=1, keep_monthly=0, storage_options=options) == plan and plan.freed > 0
    assert plan.ended == (name,) and plan.staying == (merged.written,)
    assert mnemic.open_bank(place, storage_options=options).digest() == months.digests[name]
    assert verify(store, deep=True).whole

    mnemic.copy(place, tmp_path / "home", storage_options=options)
    assert mnemic.open_bank(tmp_path / "home").digest() == months.digests[name]

    removed = mnemic.remove(place, "locator = 'beta/changing.txt'", erase=True, storage_options=options)
    assert removed.proof.before == removed.proof.pieces > 0 == removed.proof.after
    assert [one.name for one in mnemic.open_bank(place, storage_options=options).releases()] == [removed.release]
    assert verify(store, deep=True).whole
