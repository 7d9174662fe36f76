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


def test_a_bank_goes_there_lives_there_and_comes_back(months, remote, tmp_path):
    options, place = remote.options, remote.bank("months")
    copied = mnemic.copy(months.bank, place, storage_options=options)
    assert copied.releases == tuple(months.names)
    store = Store(place, options)
    assert verify(store, deep=True).whole
    first, last = months.names[0], months.names[-1]
    for name in (first, last):
        assert mnemic.open_bank(place, name, options).digest() == months.digests[name]

    back = mnemic.rollback(place, first, storage_options=options)
    assert mnemic.open_bank(place, storage_options=options).digest() == months.digests[first]
    merged = mnemic.compact(place, storage_options=options)
    assert merged.written and merged.written != back.written
    opened = mnemic.open_bank(place, storage_options=options)
    assert opened.digest() == months.digests[first]

    plan = mnemic.prune(place, keep=1, keep_monthly=0, dry_run=True, storage_options=options)
    assert mnemic.prune(place, keep=1, keep_monthly=0, storage_options=options) == plan and plan.freed > 0
    whole = mnemic.open_bank(place, storage_options=options)
    assert [release.name for release in whole.releases()] == [merged.written]
    assert whole.digest() == months.digests[first] and verify(store, deep=True).whole

    mnemic.copy(place, tmp_path / "home", storage_options=options)
    mnemic.pack(place, tmp_path / "notes.tar", storage_options=options)
    mnemic.unpack(tmp_path / "notes.tar", tmp_path / "unpacked")
    for here in ("home", "unpacked"):
        assert mnemic.open_bank(tmp_path / here).digest() == months.digests[first]


def test_a_copy_there_goes_on(months, remote):
    def broken(done, total):
        if done == 40:
            raise KeyboardInterrupt

    place = remote.bank("broken-off")
    with pytest.raises(KeyboardInterrupt):
        mnemic.copy(months.bank, place, storage_options=remote.options, progress=broken)
    outcome = mnemic.copy(months.bank, place, storage_options=remote.options)
    assert outcome.there == 40
    assert verify(Store(place, remote.options), deep=True).whole
