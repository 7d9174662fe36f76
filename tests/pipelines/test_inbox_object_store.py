"""A bank in an object store remembers as one in a folder does."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from object_store import object_store
from tiny_bank import TinyBank

import mnemic
from mnemic.dataset import Store
from mnemic.errors import QueryError
from mnemic.inbox.files import files_of_inbox
from mnemic.verify import verify

SECTIONS = ("name", "bank", "sources", "fragment_characters", "embed", "segment", "cluster")


@pytest.mark.slow
def test_rows_are_remembered_found_taken_in_and_copied(tmp_path):
    local = TinyBank.build(tmp_path, SECTIONS)
    with object_store() as server:
        place, options = server.bank("remembering"), server.options
        mnemic.copy(local.recipe["bank"], place, storage_options=options)
        bank = mnemic.open_bank(place, storage_options=options)
        (zebras,) = bank.remember("Zebras graze beside the observatory.", tenant="zoo", key="zebras")
        assert bank.remember("Zebras graze beside the observatory.", tenant="zoo", key="zebras") == [zebras]
        with pytest.raises(QueryError, match="stands for something else"):
            bank.remember("Penguins do.", tenant="zoo", key="zebras")
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda number: bank.remember(f"Row {number} of a thread.", tenant="many"), range(16)))
        bank.forget(bank.remember("Nobody shall know this."))
        (hit,) = bank.search("zebras observatory", k=1)
        assert hit.pending and hit.turns == [] and hit.id == zebras
        assert len(bank.inbox("many")) == 16 and verify(Store(place, options), deep=True).whole
        copy = server.bank("copy-of-it")
        mnemic.copy(place, copy, storage_options=options)
        for at in (place, copy):
            mnemic.build(local.recipe, bank=at, storage_options=options, device="cpu")
            after = mnemic.open_bank(at, storage_options=options)
            texts = after.table("documents", ["text"], "source = 'inbox'")["text"].to_pylist()
            assert len(texts) == 17 and not after.inbox()
            assert not [name for name in files_of_inbox(after.store).names() if not name.endswith(".gone")]
            assert verify(Store(at, options), deep=True).whole
