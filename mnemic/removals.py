"""The documents that were removed from a bank, and what its memories still know of them.

The dataset `removals` has a row for each; banks from which nothing was removed have none. A row holds hashes and no
text: the id, and the ``mark`` by which the reader knows the document where its source still has it. Memories that were
trained on it are named there, so they can be asked although its rows are gone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.conditions.values import text
from mnemic.dataset import Snapshot
from mnemic.errors import BankError, ModelError
from mnemic.expected import check_schema
from mnemic.facts import mapping
from mnemic.find import check_prefix
from mnemic.ids import hash_parts
from mnemic.schema import REMOVALS
from mnemic.splits import STORE, VALIDATION
from mnemic.terminal import one_line
from mnemic.view import View

if TYPE_CHECKING:
    from mnemic.memories.kinds import MemoryInfo

NAME = "removals"

OF_ROWS = ("cartridges", "memory_tokens", "pages", "edits")
"""Kinds of memory whose rows, of the dataset called so, are each of documents, and are deleted with them."""

_WITHOUT_TRAINING = ("knn", "suffix")
"""Kinds of memory that are the rows themselves: they have a document as long as its rows are there."""


@dataclass(frozen=True)
class Stale:
    """What a memory knows too much: ``documents`` that were removed since its training, and their tokens' ``share``."""

    documents: int
    share: float


def mark_of(source: str, locator: str, content: str) -> str:
    """What a document is known by to the reader: its place and its text, whatever else its source says of it."""
    return hash_parts("removed", source, locator, content)


def removal_rows(snapshot: Snapshot | None) -> pa.Table:
    """All rows of `removals`; none of a bank from which nothing was removed."""
    if snapshot is None:
        return REMOVALS.empty_table()
    check_schema(NAME, snapshot.schema, snapshot.uri)
    return snapshot.table(REMOVALS.names)


def rows_of(view: View) -> pa.Table:
    """The rows of `removals` in a release."""
    return removal_rows(view.dataset(NAME) if NAME in view else None)


def stale(view: View, infos: Iterable[MemoryInfo]) -> dict[str, Stale]:
    """The memories of a release that were trained on documents removed since, by name."""
    removed = rows_of(view)
    if not len(removed):
        return {}
    owners = pc.list_parent_indices(removed["memories"].combine_chunks())
    memories, rows = pc.list_flatten(removed["memories"].combine_chunks()), removed["rows"].combine_chunks()
    left = view.dataset("datastore").count(STORE) if "datastore" in view else 0
    knowing = {}
    for info in infos:
        mine = owners.filter(pc.equal(memories, info.id))
        if not len(mine):
            continue
        tokens, rest = pc.sum(rows.take(mine)).as_py(), left
        if info.kind == "classifier":  # which is trained on whole documents
            tokens, rest = len(mine), len(examples_of(view.dataset("memories"), info.id)) - len(mine)
        knowing[info.name] = Stale(len(mine), tokens / max(tokens + rest, 1))
    return knowing


def training(view: View, infos: Iterable[MemoryInfo], document: str) -> dict[str, str]:
    """For each memory, by name, how it knows the document with this id; "" where it does not.

    "store": it was trained on it, or holds its rows. "validation": the document was held out, and chose its epoch and
    weight. "removed": it was trained on it, the document was removed since, and it was not trained again.
    """
    split = _split(view, document)
    removed = rows_of(view)
    learnt = removed.filter(pc.equal(removed["document"], document))["memories"].to_pylist()
    remembering = {identity for some in learnt for identity in some}
    answers = {}
    for info in infos:
        answer = "removed" if info.id in remembering else split
        if info.kind == "suffix":
            answer = "store" if _has_tokens(view, document) else ""
        elif info.kind == "classifier":
            answer = _example(view, info, document)
        elif info.kind in OF_ROWS:
            many = info.kind != "pages"
            mine = f"array_has(documents, {text(document)})" if many else f"document = {text(document)}"
            answer = "store" if info.kind in view and view.dataset(info.kind).count(mine) else ""
        elif info.kind in _WITHOUT_TRAINING and answer == "removed":
            answer = ""
        answers[info.name] = answer
    return answers


def whole_id(view: View, beginning: str) -> str:
    """The id of the one document, of the release or removed from the bank, whose id begins so."""
    check_prefix(beginning)
    ids = set(view.table("documents", ["id"], f"id LIKE '{beginning}%'")["id"].to_pylist())
    ids |= {one for one in rows_of(view)["document"].to_pylist() if one.startswith(beginning)}
    if len(ids) != 1:
        fault = "Several documents have ids that begin" if ids else "No document has an id that begins"
        raise BankError(
            f"{fault} with {one_line(beginning, 64)} in {view.path}, nor was one removed. Give more of it, or another."
        )
    return str(ids.pop())


def warn_of_stale(view: View, infos: Iterable[MemoryInfo], strict: bool) -> None:
    """Warn of memories that know documents which were removed; ``strict`` raises `ModelError` instead."""
    for name, trace in stale(view, infos).items():
        sentence = (
            f"The memory {name} of {view.path} was trained on {trace.documents:,} documents that were removed since "
            f"({trace.share:.2%} of its training), and may still say what they said. "
        )
        if strict:
            raise ModelError(f"{sentence}Build the bank again, which trains it without them, or attach without strict.")
        warnings.warn(f"{sentence}The next build trains it without them; strict=True refuses it.", stacklevel=3)


def _split(view: View, document: str) -> str:
    """The part of the datastore that the rows of a document are in: "store", "validation", or "" for neither."""
    if "datastore" not in view:
        return ""
    datastore, mine = view.dataset("datastore"), f"document = {text(document)}"
    for name, where in (("store", STORE), ("validation", VALIDATION)):
        if datastore.count(f"({where}) AND {mine}"):
            return name
    return ""


def _has_tokens(view: View, document: str) -> bool:
    return "tokens" in view and view.dataset("tokens").count(f"document = {text(document)}") > 0


def _example(view: View, info: MemoryInfo, document: str) -> str:
    """Whether a document is one of a classifier's examples."""
    return "store" if document in examples_of(view.dataset("memories"), info.id) else ""


def examples_of(memories: Snapshot, identity: str) -> set[str]:
    """Ids of the documents that a classifier was trained on; none where a bank of before does not say."""
    rows = memories.table(["record"], f"id = {text(identity)}")["record"].to_pylist()
    results: Mapping[str, Any] = mapping(rows[0], f"The record of memory {identity}").get("found") or {} if rows else {}
    return {str(one) for one in results.get("examples", ())}
