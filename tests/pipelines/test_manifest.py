"""The items of all sources, and what is left of them to read."""

import sys

import pyarrow as pa
import pytest

from pipelines.keyset import KeySet
from pipelines.sources.contracts import FilePart, Item
from pipelines.steps import manifest as listing
from pipelines.steps.manifest import Manifest
from pipelines.steps.read import SMALL_CORPUS, ReadStep


class Listed:
    """A source that lists what it is given."""

    version, kind = 1, "listed"

    def __init__(self, name: str, items: list[Item]) -> None:
        self.name, self._items = name, items

    def identity(self) -> dict[str, object]:
        return {}

    def manifest(self) -> list[Item]:
        return self._items


FILES = [Item(f"{number}.txt", 10, "1") for number in range(5)]
PARTS = [Item("large.jsonl", 100, "1", FilePart(number, 3)) for number in range(3)]


def keys_at(keys: pa.ChunkedArray, place: int) -> KeySet:
    return KeySet([pa.record_batch({"item": keys.slice(place, 1).combine_chunks()})])


@pytest.mark.parametrize("at_once", [2, 65_536])
def test_what_was_read_whole_or_in_parts_is_not_missing(at_once, monkeypatch) -> None:
    monkeypatch.setattr(listing, "_AT_ONCE", at_once)
    manifest = Manifest.of([Listed("a", FILES), Listed("b", [*PARTS, *FILES[:1]])], (1,))
    assert len(manifest) == 9 and manifest.bytes == 5 * 10 + 3 * 33 + 10
    assert [manifest.source(place) for place in range(9)] == [0] * 5 + [1] * 4
    assert manifest.missing(KeySet()) == list(range(9)) and manifest.missing(manifest.known()) == []
    assert len({manifest.key(place) for place in range(9)}) == 9, "an item of two sources is two"
    assert manifest.missing(keys_at(manifest.keys, 1)) == [0, *range(2, 9)]
    assert manifest.missing(keys_at(manifest.wholes, 5)) == [*range(5), 8], "the file was read before it was divided"


def test_an_item_that_is_listed_twice_is_one() -> None:
    manifest = Manifest.of([Listed("a", [*FILES[:2], *FILES[:2]]), Listed("b", FILES[:2])], (1,))
    assert [item.locator for item in manifest.items] == ["0.txt", "1.txt"] * 2
    assert [manifest.source(place) for place in range(4)] == [0, 0, 1, 1]


@pytest.mark.parametrize(("size", "times"), [(1, 1), (SMALL_CORPUS, 1), (100 * SMALL_CORPUS, 10)])
def test_fragments_grow_with_the_root_of_the_corpus(size, times) -> None:
    step = ReadStep((Listed("a", [Item("one", size, "1")]),), 1 << 30)
    assert step.grain == times * step.fragment_characters


def test_an_item_has_no_dictionary() -> None:
    assert sys.getsizeof(FILES[0]) <= 64 and not hasattr(FILES[0], "__dict__")
