"""The steps of the retriever: `neighbours`, the search, and `teacher`, what the neighbours vote for.

A store that fits a worker's ``memory_gb`` is searched as every corpus step computes its columns. A larger one is
searched in parts, ranges of its lists of about equal size:

1. Each part is one worker's: it holds the keys of its lists, reads all fragments of the datastore that have no
   neighbours yet, and writes what it knows of the rows that look into its lists into `partials`. The parts that are
   done stand in the properties of the commits, so that a kill costs the parts under way.
2. Each fragment is merged by one worker from what all parts said of its rows, and gets its columns.

Parts have the same codes and lists as the whole and are merged by the same order, so neither their number nor a restart
shows in the result.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.catalogue import CATALOGUE
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.growth import pending
from mnemic.dataset.write import WrittenFragment, append, write_rows
from mnemic.facts import numbers
from mnemic.hardware import default_device
from mnemic.kept import KEPT
from mnemic.splits import STORE, VALIDATION
from operators.contracts import Resources
from operators.teacher import Neighbours, Teacher
from pipelines import faults
from pipelines.identity import Record
from pipelines.steps.contracts import Context
from pipelines.steps.fit import PARTIALS, Decision, FitStep, Written
from pipelines.steps.grow import Compute, grow_columns

if TYPE_CHECKING:
    from mnemic.neighbours.parts import Range

MERGED_ROWS = 16_384
"""Rows of a fragment that are merged together: of each, every part may have said 4 KB."""

PARTS = "mnemic.parts"
"""Property of the commits to `partials`: which parts of the store have answered."""


def neighbours_step(record: Record, operator: Neighbours, after: tuple[str, ...]) -> FitStep:
    """The search: the neighbours of every row of the datastore among those of its store."""
    return NeighboursStep(
        record,
        operator,
        "datastore",
        key=("document", "position"),
        columns=("document", "split", "key"),
        after=after,
        where=STORE,
        tables=(CATALOGUE["lists"],),
    )


def teacher_step(record: Record, operator: Teacher, after: tuple[str, ...]) -> FitStep:
    """What the neighbours of every row vote for."""
    similarity = operator.mask_similarity
    return FitStep(
        record,
        operator,
        "datastore",
        key=("document", "position"),
        columns=("document", "token", "neighbours", "distances"),
        after=after,
        where=STORE,
        also=VALIDATION,
        beside={} if similarity is None else {"pairs": NearCopies(similarity)},
    )


@dataclass(frozen=True)
class NearCopies:
    """Reads the pairs of documents of the datastore that are at least ``similarity`` alike, in the order of ids."""

    similarity: float

    def __call__(self, store: Store) -> pa.Table:
        documents, pairs = store["documents"].snapshot(), store["pairs"].snapshot()
        empty = pa.schema([("document", pa.string()), ("other", pa.string())]).empty_table()
        if documents is None or pairs is None or not {"duplicate_of", "split"} <= set(documents.schema.names):
            return empty
        ids = documents.table(["id"], f"{KEPT} AND split <> ''")["id"].combine_chunks()
        rows = pairs.table(empty.schema.names, f"similarity >= {self.similarity!r}")
        both = pc.and_(*(pc.is_in(rows[name], value_set=ids) for name in empty.schema.names))
        return rows.filter(both).cast(empty.schema).sort_by([(name, "ascending") for name in empty.schema.names])


@dataclass(frozen=True)
class Answered:
    """A part of the store, and the fragments of `partials` that it wrote."""

    part: int
    fragments: tuple[WrittenFragment, ...]


@dataclass(frozen=True)
class NeighboursStep(FitStep):
    """The step `neighbours`."""

    operator: Neighbours

    def _decide(self, context: Context, version: int, state: str) -> Decision:
        """As the table of lists says, where it stands: then the lists of a search that was broken off are its own."""
        lists = context.store["lists"].snapshot()
        stored = None if lists is None else lists.record
        if stored is None or stored.get("state") != state or stored["found"]["search"] != "lists":
            return super()._decide(context, version, state)
        results = stored["found"]
        return Decision({}, pa.table({"probes": [results["probes"]]}), results)

    def _fill(
        self, context: Context, record: Record, version: int, names: list[str], state: pa.Table | Written
    ) -> None:
        snapshot = context.store["datastore"].require(version)
        width = snapshot.schema.field("key").type.list_size
        if self.operator.parts(record.found["keys"], width) == 1:
            super()._fill(context, record, version, names, state)
            return
        assert isinstance(state, pa.Table), "what a part needs beside the lists is a number"
        self._ask_parts(context, record, version, names, state)
        merging, partials = self._merging(context), context.store[PARTIALS]
        grow_columns(context, record, self.dataset, (), names, merging, Resources(), MERGED_ROWS, located=True)
        context.commit(lambda: partials.delete("true"))
        partials.forget_before(timedelta(0))

    def _ask_parts(self, context: Context, record: Record, version: int, names: list[str], state: pa.Table) -> None:
        """Let every part write what it knows of the rows that have no neighbours yet."""
        from operators.teacher.search import partials as partials_schema

        partials, operator, store, step = context.store[PARTIALS], self.operator, context.store, self.name
        name = self.dataset
        parts = operator.ranges(store["lists"].require().table(["list", "rows", "centroid"]))
        schema = partials_schema(operator.k, record.found["keys"]).insert(0, _FRAGMENT)
        todo = pending(store[self.dataset].require(), names)
        under_way = replace(record, found={"parts": parts, "fragments": todo}).as_json()
        snapshot = partials.snapshot()
        if snapshot is None or not _about(snapshot, record, parts, todo):
            context.commit(lambda: partials.create(schema, under_way, context.properties(record)))
            snapshot = partials.require()
        answered = _answered(snapshot)
        waiting = [number for number in range(len(parts)) if number not in answered]
        done, device, read = len(answered), context.device, self._corpus

        def factory() -> Callable[[int], Answered]:
            datastore = store[name].require(version)

            def work(number: int) -> Answered:
                part = operator.part(state, read(store, version), device or default_device(), parts[number])
                written: list[WrittenFragment] = []
                for fragment in todo:
                    answers = part(_fragment(datastore, fragment))
                    answers = answers.add_column(0, _FRAGMENT, pa.array([fragment] * len(answers), pa.int32()))
                    faults.reach(step, "before-write")
                    written += write_rows(partials.uri, answers, schema, partials.storage_options)
                    faults.reach(step, "after-write")
                return Answered(number, tuple(written))

            return work

        def commit(wave: list[Answered]) -> None:
            nonlocal done
            fragments = [fragment for one in wave for fragment in one.fragments]
            properties = {**context.properties(record), PARTS: json.dumps([one.part for one in wave])}
            if fragments:
                context.commit(lambda: append(partials, fragments, properties))
            done += len(wave)
            context.progress(done, len(parts), "parts of the store")

        job = context.job(factory, operator.resources, "part {} of the store".format)
        context.in_waves(context.engine.map(job, waiting), commit)

    def _merging(self, context: Context) -> Callable[[], Compute]:
        """The function of a worker that merges the answers of all parts to the rows of a fragment."""
        operator, partials = self.operator, context.store[PARTIALS]
        version = partials.require().version

        def factory() -> Compute:
            answers = partials.require(version)
            written: dict[int, list[int]] = {}
            for fragment in answers.fragments:
                of = answers.part(fragment.id, ["fragment"], 0, 1)["fragment"][0].as_py()
                written.setdefault(of, []).append(fragment.id)

            def merge(batch: pa.RecordBatch) -> pa.RecordBatch:
                rows = batch["_rowid"]
                mine = written.get(batch["_fragment"][0].as_py(), [])
                span = f"row >= {pc.min(rows)} AND row <= {pc.max(rows)}"
                parts = answers.scan(["row", "order", "named"], span, mine)
                return operator.merge(list(parts) if mine else [], rows)

            return merge

        return factory


_FRAGMENT = pa.field("fragment", pa.int32(), nullable=False)


def _fragment(datastore: Snapshot, fragment: int) -> pa.RecordBatch:
    """All rows of a fragment, with their ids."""
    batches = list(datastore.scan(["document", "split", "key"], fragments=[fragment], row_ids=True))
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _about(partials: Snapshot, record: Record, parts: list[Range], fragments: list[int]) -> bool:
    """Whether they are answers of these parts, to all of these fragments."""
    stored = partials.record or {}
    results = stored.get("found", {})
    same = stored.get("state") == record.state and results.get("parts") == [list(part) for part in parts]
    return same and set(fragments) <= set(results["fragments"])


def _answered(partials: Snapshot) -> set[int]:
    """The parts that have answered since `partials` was emptied."""
    parts: set[int] = set()
    for properties in partials.properties_backwards():
        if PARTS not in properties:
            break
        parts |= set(numbers(properties[PARTS], f"What a commit of {partials.uri} says"))
    return parts
