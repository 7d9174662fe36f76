"""Open a bank and use what is in it: search its events, attach its memories, ask where its content came from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mnemic.dataset import Snapshot, Store
from mnemic.dataset.digest import digest_datasets
from mnemic.dataset.index import search_text, search_vector
from mnemic.errors import BankError, ModelError, QueryError
from mnemic.models import weights_hash
from mnemic.release import Release, find_release, releases
from mnemic.schema import LEVELS
from mnemic.search import POOL, Found, best_first, explain, fuse, reading_order, within_budget
from mnemic.terminal import plain

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from mnemic.encoder import TextEncoder
    from mnemic.memory import MLPMemory


def open_bank(path: str | Path, release: str | None = None, storage_options: Mapping[str, str] | None = None) -> Bank:
    """Open the bank at ``path`` through its newest release, or the one called ``release`` (a prefix is enough).

    Raises ``BankError`` when there is no bank or no such release.
    """
    root = str(path) if "://" in str(path) else os.path.expanduser(path)
    if "://" not in root and not Path(root).is_dir():
        raise BankError(f"{root} does not exist. Build a bank there with `mnemic build`, or check the path.")
    store = Store(root, storage_options)
    return Bank(store, find_release(store, release))


class Bank:
    """One release of a bank. Immutable: what a later build writes is seen by opening the bank again."""

    def __init__(self, store: Store, release: Release) -> None:
        self._store = store
        self.release = release

    def __repr__(self) -> str:
        return f"Bank({self._store.root!r}, release={self.release.name!r})"

    @property
    def path(self) -> str:
        return self._store.root

    @property
    def store(self) -> Store:
        return self._store

    @cached_property
    def _snapshots(self) -> dict[str, Snapshot]:
        return {name: self._store[name].require(version) for name, version in self.release.versions.items()}

    def dataset(self, name: str) -> Snapshot:
        """The snapshot of a dataset that this release pins. Raises ``BankError`` when the release has none of it."""
        if name not in self.release.versions:
            raise BankError(
                f"Release {self.release.name} of {self.path} has no {name}. "
                f"It holds: {', '.join(self.release.versions)}."
            )
        return self._snapshots[name]

    def releases(self) -> list[Release]:
        """All releases of the bank, oldest first."""
        return releases(self._store)

    def digest(self) -> dict[str, str]:
        """Content hash per dataset, and of the whole bank under "bank"."""
        return digest_datasets(self._snapshots)

    # -- searching ---------------------------------------------------------------------------------------------------

    @cached_property
    def encoder(self) -> TextEncoder:
        """The encoder that made the event vectors, loaded on first use and checked against its recorded hash."""
        from mnemic.encoder import TextEncoder

        settings = self.release.recipe["embed"]
        recorded = self.release.lineage["embed"]["fields"]["model"]
        if weights_hash(settings["model"]) != recorded:
            raise ModelError(
                f"The encoder {settings['model']} is not the one that this bank was built with (its weights differ), "
                "so its vectors cannot be compared. Install the version it was built with, or build the bank again."
            )
        return TextEncoder.load(
            settings["model"],
            dtype=self.release.lineage["embed"]["fields"]["dtype"],
            max_tokens=settings["max_tokens"],
            batch_tokens=settings["batch_tokens"],
        )

    def search(
        self,
        query: str,
        words: int | None = 500,
        k: int | None = None,
        where: str | None = None,
        level: str | None = None,
    ) -> list[Found]:
        """Events that answer ``query``, in reading order.

        ``words`` is the budget that all texts together must keep (None: no budget, then ``k`` limits; 10 by default),
        ``where`` an SQL condition over the columns of `events` (such as ``start_time > date '2026-01-31'``) that is
        applied before the search, ``level`` "session", "event" or "passage"; by default the leaves are searched, which
        are passages where an event has several and events elsewhere. Equal queries give equal results.
        """
        if not query.strip():
            raise QueryError("The query is empty. Ask for something, as in bank.search('how do I tag a version?').")
        events = self.dataset("events")
        for name, limit in (("words", words), ("k", k)):
            if limit is not None and limit < 1:
                raise QueryError(f"A search with {name}={limit} has nothing to give; set {name} to at least 1.")
        if words is None and k is None:
            k = 10
        query = query.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no meaning to search for
        vector = self.encoder.encode([query])[0]
        rows = _of_level(level, where, events)
        with readable_condition(where, events, "events"):
            dense = search_vector(events, "vector", "id", vector, POOL, rows)
            text = search_text(events, "text", "id", query, POOL, rows)
        similarity = dict(zip(dense["id"].to_pylist(), (1.0 - d for d in dense["_distance"].to_pylist()), strict=True))
        bm25 = dict(zip(text["id"].to_pylist(), text["_score"].to_pylist(), strict=True))
        scores = fuse([list(similarity), list(bm25)])
        ranked = best_first(scores)
        dense_rank = {item: rank for rank, item in enumerate(similarity, start=1)}
        text_rank = {item: rank for rank, item in enumerate(bm25, start=1)}
        facts = self._events(ranked)
        found = [
            Found(
                id=item,
                document=facts[item]["document"],
                source=facts[item]["source"],
                locator=facts[item]["locator"],
                collection=facts[item]["collection"],
                level=facts[item]["level"],
                start=facts[item]["start"],
                time=facts[item]["start_time"],
                text=facts[item]["text"],
                words=facts[item]["words"],
                score=scores[item],
                similarity=similarity.get(item),
                bm25=bm25.get(item),
                reason=explain(dense_rank.get(item), text_rank.get(item)),
            )
            for item in ranked
        ]
        return reading_order(within_budget(found, words, k))

    def _events(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Events by id, each with source, locator and collection of its document."""
        columns = ["id", "document", "level", "start", "start_time", "text", "words"]
        events = self._rows("events", "id", ids, columns)
        documents = {
            row["id"]: row
            for row in self._rows(
                "documents", "id", sorted({e["document"] for e in events}), ["id", "source", "locator", "collection"]
            )
        }
        return {event["id"]: {**documents[event["document"]], **event} for event in events}

    def _rows(self, dataset: str, column: str, values: Sequence[str], columns: list[str]) -> list[dict[str, Any]]:
        if not values:
            return []
        quoted = ",".join(f"'{value}'" for value in values)
        return self.dataset(dataset).table(columns, f"{column} IN ({quoted})").to_pylist()  # type: ignore[no-any-return]

    # -- memories ----------------------------------------------------------------------------------------------------

    def memories(self) -> list[dict[str, Any]]:
        """The trained memories: id, name, kind, config, lock and metrics of each, without their weights."""
        columns = ["id", "name", "kind", "epoch", "config", "lock", "metrics"]
        rows = self.dataset("memories").table(columns, "final = true").to_pylist()
        return [{**row, **{name: json.loads(row[name]) for name in ("config", "lock", "metrics")}} for row in rows]

    def memory(self, name: str = "mlp") -> tuple[MLPMemory, dict[str, Any]]:
        """The memory called ``name`` as a torch module, with its row of ``memories``."""
        from mnemic.memory import MLPMemory

        if "memories" not in self.release.versions:
            raise BankError(
                f"{self.path} has no parametric memory: its recipe names no `language_model`, or its text was too "
                "little for one. `mnemic show` gives the funnel; add a model or more text and build again."
            )
        found = {row["name"]: row for row in self.memories()}
        if name not in found:
            raise BankError(f"{self.path} has no memory {name!r}. It has: {', '.join(found) or 'none'}.")
        row = self.dataset("memories").table(["weights"], f"id = '{found[name]['id']}'")
        return MLPMemory.from_bytes(row["weights"][0].as_py()), found[name]

    def attach(
        self, model: PreTrainedModel, memory: str = "mlp", weight: float | None = None, tokenizer: Any = None
    ) -> PreTrainedModel:
        """Make ``model`` predict with the memory: log p = log((1 - weight) p_model + weight p_memory).

        ``weight`` is by default the one tuned on held-out text; 0 leaves the model as it is, bit for bit. The model is
        returned; `forward` and `generate` mix from now on, and ``mnemic.attach.detach`` undoes it. Raises
        ``ModelError`` when the memory was made for another model or tokenizer.
        """
        from mnemic.attach import attach

        module, row = self.memory(memory)
        chosen = row["metrics"]["weight"] if weight is None else weight
        return attach(model, module, chosen, row["lock"], row["config"]["student_layer"], tokenizer=tokenizer)  # type: ignore[no-any-return]

    # -- asking why --------------------------------------------------------------------------------------------------

    def find(self, prefix: str) -> tuple[str, dict[str, Any]]:
        """("document" or "event", row) whose id begins with ``prefix``. Raises ``BankError`` for none, or several."""
        if not prefix or not all(character in "0123456789abcdef" for character in prefix):
            raise BankError(
                f"{prefix!r} is no id. Ids are hexadecimal; `mnemic search --json` and `mnemic export` show them."
            )
        where = f"id LIKE '{prefix}%'"
        found: list[tuple[str, str]] = []
        for kind, dataset in (("document", "documents"), ("event", "events")):
            if dataset in self.release.versions:
                ids = self.dataset(dataset).table(["id"], where)["id"].to_pylist()
                found += [(kind, row) for row in sorted(ids)[:3]]
        if not found:
            raise BankError(f"No document or event of {self.path} has an id that begins with {prefix}.")
        if len(found) > 1:
            raise BankError(
                f"Several ids begin with {prefix}: {', '.join(one for _, one in found[:3])}. Give more of it."
            )
        kind, identity = found[0]
        names = self.dataset(f"{kind}s").schema.names
        columns = [name for name in names if name not in ("signature", "vector")]
        return kind, self._rows(f"{kind}s", "id", [identity], columns)[0]

    def table(self, dataset: str, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """Rows of a dataset of this release as an Arrow table. Raises ``QueryError`` for a condition that is no SQL."""
        snapshot = self.dataset(dataset)
        with readable_condition(where, snapshot, dataset):
            return snapshot.table(list(columns or snapshot.schema.names), where)


def _of_level(level: str | None, where: str | None, events: Snapshot) -> str | None:
    """The condition ``where`` on rows of one level, or on leaves; older banks hold nothing but events."""
    if level is not None and level not in LEVELS:
        raise QueryError(f"There is no level {level!r} of events; choose one of {', '.join(LEVELS)}.")
    wanted = f"level = '{level}'" if level else "leaf" if "leaf" in events.schema.names else None
    return " AND ".join(f"({condition})" for condition in (where, wanted) if condition) or None


@contextmanager
def readable_condition(where: str | None, snapshot: Snapshot, dataset: str) -> Iterator[None]:
    """Turn Lance's refusal of the condition ``where`` into a ``QueryError`` that gives its reason and the columns."""
    try:
        yield
    except ValueError as error:
        if where is None:
            raise
        reason = plain(str(error)).split(", /")[0].split("\n")[0]
        raise QueryError(
            f"The condition {where!r} cannot be applied to {dataset} ({reason}). Write SQL over "
            f"{', '.join(snapshot.schema.names)}; times as start_time > date '2026-01-31', text in single quotes."
        ) from error
