"""Take what was remembered over into the dataset `inbox`, from which the reader makes documents.

Files of calls go only when a release pins their rows, and the mark of a forgotten row when a release pins that it was
forgotten. So whatever is undone or mended in between, a row is remembered still, or forgotten still: the next build
finds the files and does the same again. A row is known by its id, and taken over once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.dataset import Snapshot, Store
from mnemic.dataset.write import append, append_rows, write_rows
from mnemic.errors import RecipeError
from mnemic.inbox.calls import SOURCE, RememberedCall, Row, row_id
from mnemic.inbox.dataset import INBOX
from mnemic.inbox.files import InboxListing, files_of_inbox, listed, mark_of, name_of, read_calls
from mnemic.inbox.waiting import NAME
from mnemic.quoting import one_of
from mnemic.release import releases
from pipelines.identity import Record
from pipelines.keyset import KeySet
from pipelines.steps.contracts import Context

_AT_ONCE = 500
"""Files of calls that are in memory at the same time: 16 MB at most of the texts of a commit."""
_COMMIT_BYTES = 16 << 20


def take_over(context: Context, record: Record) -> None:
    """Append the rows of all files that the dataset does not have, and mark those that were forgotten."""
    clear(context)
    files = files_of_inbox(context.store)
    listing = listed(files)
    if not listing.calls and not listing.forgotten:
        return
    ids = _present(context.store[NAME].snapshot(), listing)
    _mark(context, listing.forgotten, ids)
    missing = [file for file in listing.calls if row_id(file.call, 0) not in ids]
    rows, size, earlier = list[dict[str, Any]](), 0, set[str]()
    for start in range(0, len(missing), _AT_ONCE):
        calls, damaged = read_calls(files, missing[start : start + _AT_ONCE])
        for name in damaged:
            message = f"  left out: {files.uri}/{name} does not hold what was remembered; bring it back from a copy"
            context.emit("reject", message=message)
        for call in calls.values():
            if call.id in earlier:  # two processes used one key at once, and were killed before they looked
                continue
            earlier.add(call.id)
            rows += rows_of(call, listing.forgotten)
            size += call.size
            if size >= _COMMIT_BYTES:
                _append(context, record, rows)
                rows, size = [], 0
    _append(context, record, rows)


def clear(context: Context) -> None:
    """Delete the files of calls and marks whose rows the newest release pins, and what killed writers have left."""
    files = files_of_inbox(context.store)
    listing = listed(files)
    if not listing.calls and not listing.forgotten:
        return
    files.sweep()
    every = releases(context.store)
    if not every or NAME not in every[-1].versions:
        return
    pinned = _present(context.store[NAME].require(every[-1].versions[NAME]), listing)
    done = [file.name for file in listing.calls if row_id(file.call, 0) in pinned]
    done += [mark_of(one) for one in listing.forgotten if pinned.get(one)]
    if done:
        context.lease.confirm()
        files.delete(done)


def return_rows(store: Store, pinned: Snapshot | None) -> None:
    """Write the calls that the dataset has beyond ``pinned`` as files again: what goes back remembers still."""
    head = store[NAME].snapshot()
    if head is None:
        return
    before, new = KeySet(pinned.scan(["id"], batch_size=65536) if pinned else ()), list[str]()
    for batch in head.scan(["id"], batch_size=65536):
        new += batch["id"].filter(pa.array(~before.has(batch))).to_pylist()
    by_call: dict[str, list[dict[str, Any]]] = {}
    for start in range(0, len(new), _AT_ONCE):
        for row in head.table(INBOX.names, one_of("id", new[start : start + _AT_ONCE])).to_pylist():
            by_call.setdefault(row["call"], []).append(row)
    files = files_of_inbox(store)
    for some in by_call.values():
        for row in some:
            if row["forgotten"]:
                files.write(mark_of(row["id"]), b"")
        call = call_of_rows(some)
        files.write(name_of(call), call.as_bytes())


def refuse_remembered(store: Store) -> None:
    """Raise `RecipeError` where something was remembered and a source of the recipe is called as that is."""
    head = store[NAME].snapshot()
    if listed(files_of_inbox(store)).calls or (head is not None and head.rows_of_manifest):
        raise RecipeError(
            f"A source is called {NAME!r}, which is the name of what is remembered in this bank. Give the source "
            "another `name`."
        )


def lost_items(store: Store, documents: Snapshot) -> set[str]:
    """Keys of the items of remembered documents whose call the dataset does not know at all: a disk lost its rows.

    A row that was forgotten is known, and a document that was erased is gone: so these documents stay.
    """
    table = documents.table(["item", "locator"], f"source = '{SOURCE}'")
    inbox = store[NAME].snapshot()
    if len(table) and inbox is not None:
        calls = inbox.table(["call"])["call"].unique()
        table = table.filter(pc.invert(pc.is_in(table["locator"], value_set=calls)))
    return set(table["item"].to_pylist())


def erase_remembered(store: Store, documents: Sequence[str]) -> pa.Array:
    """Ids of the rows of the dataset that these documents were made of. Files of their calls are deleted."""
    head, inbox = store["documents"].require(), store[NAME].snapshot()
    if inbox is None:
        return pa.array([], pa.string())
    table = head.table(["id", "locator"], f"source = '{NAME}'")
    chosen = pc.is_in(table["id"], value_set=pa.array(documents, pa.string()))
    calls = table.filter(chosen)["locator"].unique().to_pylist()
    files = files_of_inbox(store)
    listing = listed(files)
    files.delete(file.name for call in calls for file in listing.of_call.get(call, ()))
    ids = inbox.table(["id", "call"])
    return ids.filter(pc.is_in(ids["call"], value_set=pa.array(calls, pa.string())))["id"].combine_chunks()


def rows_of(call: RememberedCall, forgotten: frozenset[str]) -> list[dict[str, Any]]:
    """The rows of the dataset for a call; of a forgotten one the text is not there."""
    rows = []
    for row in call.rows:
        gone = row.id in forgotten
        rows.append(
            {
                "id": row.id,
                "call": row.call,
                "tenant": call.tenant,
                "turns": call.turns,
                "digest": call.digest,
                "remembered": call.remembered,
                "rows": len(call.rows),
                "size": 0 if gone else len(row.text.encode()),
                "speaker": "" if gone else row.speaker,
                "time": row.time,
                "text": "" if gone else row.text,
                "forgotten": gone,
            }
        )
    return rows


def call_of_rows(rows: Sequence[Mapping[str, Any]]) -> RememberedCall:
    """The call that these rows of the dataset are of: the inverse of `rows_of`."""
    ordered = sorted(rows, key=lambda row: str(row["id"]))
    first = ordered[0]
    own = tuple(Row(row["id"], row["text"], row["speaker"], row["time"]) for row in ordered)
    return RememberedCall(first["call"], first["tenant"], first["turns"], first["digest"], first["remembered"], own)


def _mark(context: Context, forgotten: Collection[str], ids: Mapping[str, bool]) -> None:
    """Take the text from rows that were forgotten; the row stays, so that it is not taken for one that was lost."""
    dataset = context.store[NAME]
    gone = sorted(one for one in forgotten if ids.get(one) is False)
    empty = {"text": "''", "speaker": "''", "size": "0", "forgotten": "true"}
    for start in range(0, len(gone), _AT_ONCE):
        where = one_of("id", gone[start : start + _AT_ONCE])
        context.commit(lambda where=where: dataset.update(empty, where))  # type: ignore[misc]


def _append(context: Context, record: Record, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        dataset, table = context.store[NAME], pa.Table.from_pylist(list(rows), schema=INBOX)
        properties = context.properties(record)
        if dataset.snapshot() is None:
            context.commit(lambda: append_rows(dataset, table, INBOX, properties))
            return
        fragments = write_rows(dataset.uri, table, INBOX, dataset.storage_options)
        context.commit(lambda: append(dataset, fragments, properties))


def _present(snapshot: Snapshot | None, listing: InboxListing) -> dict[str, bool]:
    """Of the first rows of listed calls, and of marked rows, those that the dataset has: id -> whether forgotten."""
    rows = dict[str, bool]()
    sought = pa.array({*listing.forgotten, *(row_id(file.call, 0) for file in listing.calls)}, pa.string())
    for batch in snapshot.scan(["id", "forgotten"], batch_size=65536) if snapshot else ():
        some = batch.filter(pc.is_in(batch["id"], value_set=sought))
        rows.update(zip(some["id"].to_pylist(), some["forgotten"].to_pylist(), strict=True))
    return rows
