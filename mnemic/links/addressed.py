"""Links that sources state in a column of documents, and the documents that they lead to."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Integers
from mnemic.links.stated import LINKS, MOST_LINKS, parted_link
from mnemic.metadata import TYPES

URL = "url"
"""Column of documents in which a source states the address of a page."""

_WEB = ("http://", "https://")


@dataclass(frozen=True)
class Addressed:
    """``links`` [n] are lists of entries, null for none, ``urls`` [n] addresses without a fragment, "" for none.

    ``by_url`` int64 [m] are the places of documents with an address, by these and then by place.
    """

    links: pa.ListArray
    urls: pa.Array
    by_url: Integers

    @staticmethod
    def columns(schema: pa.Schema) -> list[str]:
        """The columns of documents that it reads, as far as they are of their types; none without links."""
        typed = {LINKS: TYPES["list"], URL: TYPES["text"]}
        there = [name for name, kind in typed.items() if name in schema.names and schema.field(name).type == kind]
        return there if LINKS in there else []

    @classmethod
    def of_rows(cls, table: pa.Table) -> Addressed | None:
        """``table`` has the column links, and may have url."""
        if LINKS not in table.column_names:
            return None
        urls = table[URL].combine_chunks() if URL in table.column_names else pa.nulls(len(table), pa.string())
        urls = pc.replace_substring_regex(pc.fill_null(urls, ""), "#.*$", "")
        places = pa.table({URL: urls, "place": np.arange(len(urls))}).filter(pc.not_equal(urls, ""))
        by_url = places.sort_by([(URL, "ascending"), ("place", "ascending")])["place"]
        return cls(table[LINKS].combine_chunks(), urls, by_url.to_numpy())

    def entries(self, place: int) -> Iterator[tuple[str, str, str]]:
        """(anchor, target, address) of the links of the document at ``place``.

        The target is as it is written, "" for a title alone; the address is that on the web, "" where it has none.
        """
        own = self.urls[place].as_py()
        for entry in (self.links[place].as_py() or ())[:MOST_LINKS]:
            if not entry:
                continue
            anchor, target = parted_link(entry)
            yield anchor, target, _address(own, target)

    def at(self, address: str, most: int) -> list[int]:
        """The places of documents with this address, at most so many."""
        begin = bisect.bisect_left(self.by_url, address, key=self._url)
        return [place for place in self.by_url[begin : begin + most].tolist() if self._url(place) == address]

    def _url(self, place: int) -> str:
        url: str = self.urls[int(place)].as_py()
        return url


def _address(own: str, target: str) -> str:
    """The address of ``target``, seen from a page at ``own``."""
    try:
        whole = urldefrag(urljoin(own, target))[0] if own or target.startswith(_WEB) else ""
    except ValueError:  # what looks like an address and is none
        return ""
    return whole if whole.startswith(_WEB) and whole != own else ""
