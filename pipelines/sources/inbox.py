"""What was remembered, as a source beside those that the recipe names: each call is an item, and one document.

The rows that a build has taken over stay in the dataset `inbox` and are the manifest of this source. In a plan, calls
stand beside them that no build has seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from mnemic.dataset import Snapshot, Store
from mnemic.ids import hash_parts
from mnemic.inbox.calls import CALL, SOURCE, row_id
from mnemic.inbox.files import files_of_inbox, listed
from mnemic.inbox.pieces import lines_of
from mnemic.inbox.waiting import COLUMNS, NAME, WaitingCall, calls_of
from mnemic.quoting import one_of
from pipelines.sources.contracts import Document, Item, Reject, Turn
from pipelines.sources.text import too_large

_MANIFEST = ("id", "call", "digest", "rows", "size", "forgotten")
_AT_ONCE = 500


@dataclass(frozen=True)
class RememberedRows:
    """Implements `Source`. ``waiting``: also what stands in files, as a plan counts it."""

    store: Store
    waiting: bool = False
    kind: str = SOURCE
    name: str = SOURCE
    version: ClassVar[int] = 1
    calls: Mapping[str, WaitingCall] = field(default_factory=dict, repr=False, compare=False)

    def identity(self) -> Mapping[str, object]:
        return {}

    def manifest(self) -> list[Item]:
        rows = self._taken_over()
        if self.waiting:
            rows = self._with_files(rows)
        items = []
        for call, (digest, count, own) in rows.items():
            if not own:
                continue
            left = "" if len(own) == count else hash_parts(*sorted(own))
            items.append(Item(call, sum(own.values()), f"{digest}{left}"))
        return sorted(items, key=lambda item: item.locator)

    def _taken_over(self) -> dict[str, tuple[str, int, dict[str, int]]]:
        """Call -> its digest, the number of its rows, and the bytes of each that is not forgotten."""
        head, calls = self._head(), dict[str, tuple[str, int, dict[str, int]]]()
        if head is None:
            return calls
        for batch in head.scan(_MANIFEST, batch_size=65536):
            columns = (batch[name].to_pylist() for name in _MANIFEST)
            for identity, call, digest, count, size, forgotten in zip(*columns, strict=True):
                _, _, own = calls.setdefault(call, (digest, count, {}))
                if not forgotten:
                    own[identity] = size
        return calls

    def _with_files(
        self, rows: dict[str, tuple[str, int, dict[str, int]]]
    ) -> dict[str, tuple[str, int, dict[str, int]]]:
        """``rows``, those of calls that stand in files alone, and none that is forgotten by now."""
        listing = listed(files_of_inbox(self.store))
        for file in listing.calls:
            if file.call not in rows:
                ids = [row_id(file.call, number) for number in range(file.rows)]
                rows[file.call] = (file.digest, file.rows, {ids[0]: file.size, **dict.fromkeys(ids[1:], 0)})
        for row in listing.forgotten:
            if row[:CALL] in rows:
                rows[row[:CALL]][2].pop(row, None)
        return rows

    def loaded(self, items: Sequence[Item]) -> RememberedRows:
        """The same with the rows of ``items`` in memory: many calls are read at once."""
        head = self._head()
        names = [item.locator for item in items]
        rows = []
        for start in range(0, len(names) if head else 0, _AT_ONCE):
            assert head is not None
            where = f"NOT forgotten AND {one_of('call', names[start : start + _AT_ONCE])}"
            rows += head.table(COLUMNS, where).to_pylist()
        return dataclasses.replace(self, calls={call.id: call for call in calls_of(rows)})

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        source = self if item.locator in self.calls else self.loaded([item])
        call = source.calls.get(item.locator)
        if call is None:
            return
        document = document_of(call)
        size = len(document.text.encode())
        if size > max_document_bytes:
            yield Reject(item.locator, too_large(size, max_document_bytes))
        else:
            yield document

    def notes(self, items: Sequence[Item]) -> Iterator[str]:
        """What a plan says of them."""
        yield f"{len(items):,} remembered texts and conversations are taken in"

    def _head(self) -> Snapshot | None:
        return self.store[NAME].snapshot()


def document_of(call: WaitingCall) -> Document:
    """The document that a call becomes; of a conversation each row is a turn, which keeps the row's id."""
    lines = lines_of(call)
    if not call.turns:
        return Document(call.id, lines[0], tenant=call.tenant, time=call.rows[0].time)
    turns, start = [], 0
    for row, line in zip(call.rows, lines, strict=True):
        turns.append(Turn(row.id, start, start + len(line), row.speaker, row.time))
        start += len(line) + 1
    speakers = {row.speaker for row in call.rows}
    return Document(
        call.id,
        "\n".join(lines),
        tenant=call.tenant,
        speaker=speakers.pop() if len(speakers) == 1 else "",
        time=min(row.time for row in call.rows),
        turns=tuple(turns),
    )
