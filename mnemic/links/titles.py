"""The titles of a release, and the documents that have them: each tenant's own.

They stand in memory, about 300 bytes a document, from the first search that follows links on; loading them takes 3
microseconds a document. A release of more than `MOST` documents has no links.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Integers
from mnemic.dataset import Snapshot
from mnemic.kept import KEPT
from mnemic.links.addressed import Addressed
from mnemic.links.names import CHARACTERS, Lexicon, name_of
from mnemic.links.stated import stated_locators
from mnemic.terminal import one_line

TITLE = "title"
"""Column of documents."""

MOST = 2_000_000
"""Documents of a release whose titles are held."""

HOMES = 16
"""Documents of one tenant that may have the same title; where there are more, it tells none of them from the others."""


@dataclass(frozen=True)
class Titles:
    """Documents in the order of their ``ids`` (bytes [n]); a place is a number there.

    ``tenants`` and ``sources`` int64 [n] are numbers, the first of ``tenant_names``; ``titles`` [n], null for none, as
    far as they are read. ``by_locator`` int64 [n] are the places by their ``locators`` [n], tenants and sources.
    ``own`` int64 [n] is the number of a document's name in ``names``, -1 for none. The documents called by name k are
    ``homes[first[k] : first[k + 1]]``, by tenant and then by id; ``home_tenants`` are theirs. ``addressed`` are links
    that sources state, None where documents have no column of them.
    """

    ids: npt.NDArray[np.bytes_]
    tenants: Integers
    tenant_names: list[str]
    sources: Integers
    titles: pa.Array
    locators: pa.Array
    by_locator: Integers
    names: Lexicon
    own: Integers
    first: Integers
    homes: Integers
    home_tenants: Integers
    addressed: Addressed | None = None

    @classmethod
    def of(cls, documents: Snapshot) -> Titles:
        """Of the documents that a release keeps."""
        columns = ["id", "tenant", "source", "locator", TITLE, *Addressed.columns(documents.schema)]
        return cls.of_rows(documents.table(columns, KEPT))

    @classmethod
    def of_rows(cls, table: pa.Table) -> Titles:
        """``table`` has the columns id, tenant, source, locator and title, and may have links and url."""
        table = table.sort_by("id")
        ids = table["id"].combine_chunks().to_numpy(zero_copy_only=False).astype("S")
        coded = [pc.dictionary_encode(table[name].combine_chunks()) for name in ("tenant", "source")]
        tenants, sources = (column.indices.to_numpy().astype(np.int64) for column in coded)
        locators = table["locator"].combine_chunks()
        addresses = pa.table({"locator": locators, "tenant": tenants, "source": sources})
        keys = [(name, "ascending") for name in addresses.column_names]
        by_locator = pc.sort_indices(addresses, keys).to_numpy().astype(np.int64)
        titles = pc.utf8_slice_codeunits(table[TITLE].combine_chunks().cast(pa.string()), 0, CHARACTERS)
        written = [name_of(title) if title else "" for title in titles.to_pylist()]
        names = Lexicon(name for name in written if name)
        own = np.array([names.numbers[name.lower()] if name else -1 for name in written], np.int64)
        homes = np.lexsort((np.arange(len(own)), tenants, own))
        homes = homes[own[homes] >= 0]
        first = np.searchsorted(own[homes], np.arange(len(names) + 1))
        tenant_names = coded[0].dictionary.to_pylist()
        return cls(
            ids,
            tenants,
            tenant_names,
            sources,
            titles,
            locators,
            by_locator,
            names,
            own,
            first,
            homes,
            tenants[homes],
            Addressed.of_rows(table),
        )

    def places(self, ids: Sequence[str]) -> Integers:
        """The places of documents int64 [n]; -1 for one that is not there."""
        sought = np.array([identity.encode() for identity in ids], "S")
        if not len(self.ids) or not len(sought):
            return np.full(len(sought), -1)
        places = np.minimum(np.searchsorted(self.ids, sought), len(self.ids) - 1)
        return np.where(self.ids[places] == sought, places, -1)

    def linked_from(self, place: int, text: str) -> list[int]:
        """The places of documents that a ``text`` of the one at ``place`` links to, of its source and tenant."""
        links = list[int]()
        owner = (int(self.tenants[place]), int(self.sources[place]))
        for locator in stated_locators(text, self.locators[place].as_py()):
            at = bisect.bisect_left(self.by_locator, (locator, *owner), key=self._address)
            others = self.by_locator[at : at + HOMES].tolist()
            links += [other for other in others if self._address(other) == (locator, *owner)]
        return links

    def stated_links(self, place: int) -> list[tuple[str, list[int]]]:
        """(words that are linked, places) of the links that a source states of the document at ``place``.

        They lead to documents of its tenant: by address, by title, or to a file of its source.
        """
        links = list[tuple[str, list[int]]]()
        tenant = int(self.tenants[place])
        for anchor, target, address in self.addressed.entries(place) if self.addressed is not None else ():
            if not target:
                number = self.names.numbers.get(name_of(anchor).lower(), -1)
                places = self.homes_of(number, tenant).tolist() if number >= 0 else []
            else:
                places = self.linked_from(place, f"[]({target})")
                if address and self.addressed is not None:
                    near = self.addressed.at(address, HOMES)
                    places += [other for other in near if int(self.tenants[other]) == tenant]
            places = [other for other in dict.fromkeys(places) if other != place]
            if places:
                links.append((anchor, places))
        return links

    def _address(self, place: int) -> tuple[str, int, int]:
        return self.locators[int(place)].as_py(), int(self.tenants[place]), int(self.sources[place])

    def called(self, place: int) -> str:
        """A document by its title, in quotes, or by the beginning of its id."""
        title = self.titles[place].as_py()
        return f'"{one_line(title, 80)}"' if title else self.id(place)[:12]

    def id(self, place: int) -> str:
        return bytes(self.ids[place]).decode()

    def homes_of(self, name: int, tenant: int) -> Integers:
        """The places of the ``tenant``'s documents that are called ``name``; none where more than `HOMES` are."""
        begin, end = int(self.first[name]), int(self.first[name + 1])
        low, high = begin + np.searchsorted(self.home_tenants[begin:end], (tenant, tenant + 1))
        return self.homes[low:high] if high - low <= HOMES else self.homes[:0]
