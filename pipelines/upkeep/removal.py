"""Remove documents from a bank, with all that was made of them; and let them in again.

The rows of `removals` say which documents, under one name, and keep the reader from taking them in again. Then they go
from every dataset (`cascade`), what named or counted them is made anew (`redo`), and a release without them is pinned.
To erase them, files that hold their rows are written anew, and releases that need others end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.catalogue import in_order
from mnemic.conditions import Where
from mnemic.dataset import Store
from mnemic.dataset.write import write_whole
from mnemic.errors import BankError, QueryError
from mnemic.release import releases
from mnemic.removals import NAME, mark_of, removal_rows
from mnemic.schema import REMOVALS
from pipelines.progress import Sink
from pipelines.steps.contracts import Context
from pipelines.upkeep.cascade import gone_rows
from pipelines.upkeep.chosen import chosen, conditions
from pipelines.upkeep.erasure import affected
from pipelines.upkeep.finish import finish
from pipelines.upkeep.intents import begin
from pipelines.upkeep.learners import LearntFrom, learners
from pipelines.upkeep.pinning import check_ended, naming
from pipelines.upkeep.sought import Sought
from pipelines.upkeep.writing import bank_at, writing


@dataclass(frozen=True)
class Proof:
    """What a search of all files for the erased texts met: ``before`` and ``after`` the erasure.

    ``pieces`` are the runs of 24 characters and of 8 tokens that were looked for; ``shared`` ones, which a document
    that stays has too, were not. ``files`` were decoded afterwards, of every version and of none.
    """

    pieces: int
    shared: int
    before: int
    after: int
    files: int


@dataclass(frozen=True)
class Removed:
    """``documents`` that go, and the rows of ``datasets`` that go with them.

    ``again`` documents fell to one of them as duplicates, and are judged anew. ``copies`` documents have the same text
    and stay. ``memories`` were trained on them: name -> the share of their training that goes. ``ended`` are the
    releases that end by an erasure. ``removal`` names it, and ``release`` is the one that pins what is left, "" before
    it is.
    """

    bank: str
    documents: int
    datasets: Mapping[str, int] = field(default_factory=dict)
    again: int = 0
    copies: int = 0
    memories: Mapping[str, float] = field(default_factory=dict)
    ended: tuple[str, ...] = ()
    removal: str = ""
    release: str = ""
    proof: Proof | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def remove(
    bank: str | Path,
    where: Where = None,
    *,
    source: str | Sequence[str] | None = None,
    tenant: str | Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    copies: bool = False,
    erase: bool = False,
    dry_run: bool = False,
    storage_options: Mapping[str, str] | None = None,
    sink: Sink = lambda event: None,
) -> Removed:
    """Remove the documents that satisfy all of ``where``, ``source``, ``tenant`` and ``ids`` (beginnings are enough).

    ``where`` is as in `Bank.table`, over documents. ``copies``: documents of equal text go with them. ``erase``: also
    out of earlier releases, files and caches; the releases that have them end, and memories that were trained on them
    go. ``dry_run`` only tells what would go.

    Raises ``QueryError`` where nothing is asked, or all documents would go, ``BuildUnfinished`` where a build has begun
    and not ended, and ``BankInUse`` while one runs.
    """
    store = bank_at(bank, storage_options)
    selection = conditions(where, source, tenant)
    if dry_run:
        return _planned(store, chosen(store, releases(store)[-1], selection, ids, erase, copies), erase).outcome
    with writing(store, "remove", sink) as context:
        newest = releases(context.store)[-1]
        documents = chosen(context.store, newest, selection, ids, erase, copies)
        plan = _planned(context.store, documents, erase)
        if not plan.outcome.documents:
            return plan.outcome
        intent = begin(context, "remove", {"release": newest.name, "erase": erase})
        _note(context, documents, erase, plan.learnt)
        release = finish(context, intent)
        outcome = replace(plan.outcome, removal=context.run, release=release.name)
        if plan.sought is None:
            return outcome
        return replace(outcome, proof=_proven(context.store, plan.sought, plan.before))


def readmit(
    bank: str | Path,
    name: str,
    storage_options: Mapping[str, str] | None = None,
    sink: Sink = lambda event: None,
) -> int:
    """Let the next build read again what was removed: the removal called ``name``, a document by its id, or "all".

    Gives the number of documents. Raises ``QueryError`` where nothing was removed under that name.
    """
    store = bank_at(bank, storage_options)
    with writing(store, "remove", sink) as context:
        removals = context.store[NAME]
        rows = removal_rows(removals.snapshot())
        mine = pc.or_(pc.equal(rows["removal"], name), pc.starts_with(rows["document"], name))
        mine = pc.or_(mine, pa.scalar(name == "all")).combine_chunks()
        count = pc.sum(mine).as_py() or 0
        if not name or not count:
            names = ", ".join(rows["removal"].unique().to_pylist()[-5:]) or "none"
            raise QueryError(f"{store.root} has no removal {name!r}. The newest are: {names}.")
        again = pc.or_(rows["readmitted"].combine_chunks(), mine)
        place = rows.schema.get_field_index("readmitted")
        _write(context, rows.set_column(place, REMOVALS.field("readmitted"), again))
        return int(count)


@dataclass(frozen=True)
class _Plan:
    """The outcome as far as it is known before, who learnt, and what an erasure looks for: ``before`` pieces stand."""

    outcome: Removed
    learnt: list[LearntFrom]
    sought: Sought | None = None
    before: int = 0


def _planned(store: Store, documents: pa.Table, erase: bool) -> _Plan:
    newest = releases(store)[-1]
    check_ended(store, newest, "remove")
    ids = documents["id"].combine_chunks()
    gone = gone_rows(naming(store), {"documents": ids})
    standing = store["documents"].require()
    if "documents" in gone and gone["documents"][1].rows == standing.count():
        raise QueryError(
            f"All {standing.count():,} documents of {store.root} satisfy this. Name fewer, or delete the folder of the "
            "bank if all of it is to go."
        )
    again = copies = 0
    columns = ["id", "content", *(["duplicate_of"] if "duplicate_of" in standing.schema.names else [])]
    for batch in standing.scan(columns, batch_size=65536) if len(ids) else ():
        rest = batch.filter(pc.invert(pc.is_in(batch["id"], value_set=ids)))
        copies += pc.sum(pc.is_in(rest["content"], value_set=documents["content"].combine_chunks())).as_py() or 0
        if "duplicate_of" in columns:
            again += pc.sum(pc.is_in(rest["duplicate_of"], value_set=ids)).as_py() or 0
    rows = {name: gone[name][1].rows for name in in_order(gone)}
    learnt = learners(store, newest, ids)
    outcome = Removed(store.root, len(ids), rows, again, copies, {one.name: one.share for one in learnt})
    if not erase or not len(ids):
        return _Plan(outcome, learnt)
    sought = Sought.of(store, ids.to_pylist())
    search = sought.search(store)
    ended = tuple(affected(store, search, newest=True))
    return _Plan(replace(outcome, ended=ended), learnt, sought, search.pieces)


def _note(context: Context, documents: pa.Table, erase: bool, memories: Sequence[LearntFrom]) -> None:
    """Write the rows of `removals`; one of a document that was removed before is taken up."""
    store, count = context.store, len(documents)
    ids = documents["id"].combine_chunks()
    learnt: dict[str, list[str]] = {}
    tokens: dict[str, int] = {}
    for one in memories:
        for document, rows in one.documents.items():
            learnt.setdefault(document, []).append(one.id)
            tokens[document] = max(rows, tokens.get(document, 0))  # a classifier learns from no tokens
    before = removal_rows(store[NAME].snapshot())
    earlier = {row["document"]: row for row in before.filter(pc.is_in(before["document"], value_set=ids)).to_pylist()}
    names = ids.to_pylist()
    places = (documents[name].to_pylist() for name in ("source", "locator", "content"))
    table = pa.table(
        {
            "document": ids,
            "mark": [mark_of(*place) for place in zip(*places, strict=True)],
            "item": documents["item"],
            "removal": [context.run] * count,
            "time": [datetime.now(UTC)] * count,
            "erased": [erase or bool(earlier.get(one, {}).get("erased")) for one in names],
            "readmitted": [False] * count,
            "rows": [max(tokens.get(one, 0), earlier.get(one, {}).get("rows", 0)) for one in names],
            "memories": [sorted({*learnt.get(one, ()), *earlier.get(one, {}).get("memories", ())}) for one in names],
        },
        schema=REMOVALS,
    )
    others = before.filter(pc.invert(pc.is_in(before["document"], value_set=ids)))
    _write(context, pa.concat_tables([others, table]))


def _write(context: Context, rows: pa.Table) -> None:
    removals = context.store[NAME]
    context.commit(lambda: removals.replace(REMOVALS, write_whole(removals, rows), {}, {}))


def _proven(store: Store, sought: Sought, before: int) -> Proof:
    """Raises ``BankError`` where a piece of an erased text is there still."""
    search = sought.search(store)
    after, pieces = search.pieces, len(sought.texts) + len(sought.tokens)
    if after:
        raise BankError(
            f"{after:,} pieces of the erased documents still stand in {', '.join(search.places[:5])}. No release shows "
            "the documents; what has the pieces was not made of them by a step that says so. Remove what it was made "
            "of too, or build those steps anew, and erase again."
        )
    return Proof(pieces, sought.shared, before, after, search.files)
