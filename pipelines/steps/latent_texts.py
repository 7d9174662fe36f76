"""The texts of a bank that latents are trained for: documents, events of a level, or nodes of the cluster tree.

The text of a node is that of its examples, the events nearest to its centroid, one below the other.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mnemic import languagemodel
from mnemic.conditions import Conditions, all_of
from mnemic.dataset import Snapshot, Store
from mnemic.edits import readable
from mnemic.errors import StepError
from mnemic.ids import content_hash, hash_parts
from mnemic.kept import KEPT
from mnemic.latents.datasets import DOCUMENT, NODE
from mnemic.pages.page import COLUMNS, page_of
from mnemic.quoting import parts_of, quoted
from operators.contracts import REJECTED
from operators.latents.settings import LatentSettings, LatentText
from pipelines.corpus_reader import corpus_digest

_TEXTS = 256


@dataclass(frozen=True)
class ChosenTexts:
    """Of each chosen text its id, hash and number of tokens, the longest first; and ``rejects`` of too long ones.

    The hash is that of the text, and of its pages where a latent starts from them.
    """

    texts: tuple[tuple[str, str, int], ...]
    rejects: pa.Table
    left_out: int  # texts of the right length beyond the most that are trained for


def dataset_of(level: str) -> str:
    """The dataset whose rows are the texts of a ``level``."""
    return {DOCUMENT: "documents", NODE: "clusters"}.get(level, "events")


@dataclass(frozen=True)
class LatentTexts:
    """The rows of a bank that texts are made of, at the newest versions or at ``versions``."""

    rows: Snapshot
    events: Snapshot | None
    settings: LatentSettings
    pages: Snapshot | None = None  # where latents start from them

    @classmethod
    def open(
        cls, store: Store, settings: LatentSettings, versions: Mapping[str, int] | None = None
    ) -> LatentTexts | None:
        """None where the bank has no rows of the level yet."""

        def snapshot(name: str) -> Snapshot | None:
            if versions is None:
                return store[name].snapshot()
            return store[name].require(versions[name]) if name in versions else None

        name = dataset_of(settings.level)
        paged = settings.from_pages
        rows, events = snapshot(name), snapshot("events") if paged or name != "documents" else None
        if rows is None or (name == "clusters" and events is None):
            return None
        if name == "clusters" and "examples" not in rows.schema.names:
            raise StepError(
                "The cluster tree of this bank does not name examples of its nodes: it is of an older mnemic. Build "
                "the bank again, or choose another level."
            )
        return cls(rows, events, settings, snapshot("pages") if paged else None)

    @property
    def versions(self) -> dict[str, int]:
        beside = {"events": self.events, "pages": self.pages}
        versions = {name: one.version for name, one in beside.items() if one is not None}
        return {**versions, dataset_of(self.settings.level): self.rows.version}

    @property
    def lacking(self) -> bool:
        """Whether a step before has rows or columns still to write, by which the texts are chosen."""
        if self.settings.from_pages and self.pages is None:
            return True
        if self.settings.level == DOCUMENT:
            return "duplicate_of" not in self.rows.schema.names
        return self.settings.level == NODE and (self.events is None or "cluster" not in self.events.schema.names)

    @property
    def where(self) -> str | None:
        """The condition on the rows. Raises ``QueryError`` where that of the recipe is none."""
        level = self.settings.level
        own = Conditions.of(self.settings.where).sql(self.rows.schema, dataset_of(level))
        return all_of({DOCUMENT: KEPT, NODE: None}.get(level, f"level = {quoted(level)}"), own)

    def digest(self) -> str:
        """Of the rows that are chosen among, and of the pages that latents start from."""
        if self.pages is None:
            return self._digest()
        return hash_parts("from pages", self._digest(), corpus_digest(self.pages, ("id",), "passed")[0])

    def _digest(self) -> str:
        if self.settings.level != NODE or self.events is None:
            return corpus_digest(self.rows, ("id",), self.where)[0]
        leaves = corpus_digest(self.events, ("document", "id", "cluster"), "cluster IS NOT NULL")[0]
        return hash_parts("nodes", corpus_digest(self.rows, ("path", "size"), self.where)[0], leaves)

    def count(self) -> int:
        return self.rows.count(self.where)

    def chosen(self) -> ChosenTexts:
        """The texts that have the right number of tokens, of these the longest. Streams over all rows."""
        tokenizer, settings = languagemodel.tokenizer(self.settings.model), self.settings
        longest: list[tuple[int, tuple[int, ...], tuple[str, str, tuple[str, ...]]]] = []  # the shortest comes first
        fitting, rejects = 0, list[dict[str, str]]()
        for batch in filter(None, self._texts()):
            encoded = tokenizer([text for _, text, _, _ in batch], add_special_tokens=False, verbose=False)["input_ids"]
            for (of, text, _, events), ids in zip(batch, encoded, strict=True):
                if len(ids) > settings.max_tokens:
                    rejects.append(_too_long(of, len(ids), settings))
                elif len(ids) >= settings.min_tokens:
                    fitting += 1
                    heapq.heappush(longest, (len(ids), _turned(of), (of, content_hash(text), events)))
                    if len(longest) > settings.most:
                        heapq.heappop(longest)
        ordered = [
            (of, self._standing(of, text, events), size)
            for size, _, (of, text, events) in sorted(longest, reverse=True)
        ]
        table = pa.Table.from_pylist(rejects, schema=REJECTED)
        return ChosenTexts(tuple(ordered), table, fitting - len(ordered))

    def text(self, of: str) -> LatentText:
        """The text with this id, or of the node with this path."""
        column = "path" if self.settings.level == NODE else "id"
        ((_, text, documents, events),) = itertools.chain.from_iterable(self._texts(f"{column} = {quoted(of)}"))
        stored = self._page_rows(of, events, (*COLUMNS, "ids", "passed"))
        if stored:
            read = tuple(token for row in stored for token in row["ids"])
            names, pages = tuple(row["id"] for row in stored), tuple(map(page_of, stored))
            return LatentText(of, read, content_hash(text), documents, events, names, pages)
        ids = languagemodel.tokenizer(self.settings.model)(text, add_special_tokens=False, verbose=False)["input_ids"]
        return LatentText(of, tuple(map(int, ids)), content_hash(text), documents, events)

    def _standing(self, of: str, text: str, events: Sequence[str]) -> str:
        """The hash of a text, given that of its characters, and of the pages that a latent of it starts from."""
        pages = [row["id"] for row in self._page_rows(of, events, ("id", "event", "part", "passed"))]
        return hash_parts("with pages", text, *pages) if pages else text

    def _page_rows(self, of: str, events: Sequence[str], columns: Sequence[str]) -> list[dict[str, Any]]:
        """The pages of a text in its order; none where one of its events has no page that may be attached."""
        if self.pages is None or self.events is None:
            return []
        if self.settings.level == DOCUMENT:
            inside = self.events.table(["id", "ordinal"], f"level = 'event' AND document = {quoted(of)}")
            events = inside.sort_by("ordinal")["id"].to_pylist()
        by_event: dict[str, list[dict[str, Any]]] = {}
        for where in parts_of("event", list(events)):
            for row in self.pages.table(columns, where).to_pylist():
                by_event.setdefault(row["event"], []).append(row)
        rows = [row for event in events for row in sorted(by_event.get(event, []), key=lambda row: row["part"])]
        return rows if set(by_event) == set(events) and all(row["passed"] for row in rows) else []

    def _texts(self, alone: str | None = None) -> Iterator[list[tuple[str, str, tuple[str, ...], tuple[str, ...]]]]:
        """(id, text, documents, events) of the rows, some at a time."""
        level, where = self.settings.level, all_of(self.where, alone)
        if level == DOCUMENT:
            edits = ["edits"] if "edits" in self.rows.schema.names else []
            for batch in self.rows.scan(["id", "text", *edits], where, batch_size=_TEXTS):
                rows = readable(pa.Table.from_batches([batch]))
                both = zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True)
                yield [(of, text, (of,), ()) for of, text in both]
        elif level != NODE:
            for batch in self.rows.scan(["id", "text", "document"], where, batch_size=_TEXTS):
                yield [(row["id"], row["text"], (row["document"],), (row["id"],)) for row in batch.to_pylist()]
        else:
            for batch in self.rows.scan(["path", "examples"], where, batch_size=_TEXTS):
                nodes = [(row["path"], row["examples"]) for row in batch.to_pylist() if row["examples"]]
                events = self._examples({one for _, examples in nodes for one in examples})
                yield [_node(path, [events[one] for one in examples if one in events]) for path, examples in nodes]

    def _examples(self, ids: set[str]) -> dict[str, dict[str, Any]]:
        """The events with these ``ids`` that there are, by id."""
        assert self.events is not None
        columns, parts = ["id", "text", "document"], parts_of("id", sorted(ids))
        return {row["id"]: row for where in parts for row in self.events.table(columns, where).to_pylist()}


def _node(path: str, events: list[dict[str, Any]]) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    documents = tuple(dict.fromkeys(row["document"] for row in events))
    return path, "\n".join(row["text"] for row in events), documents, tuple(row["id"] for row in events)


def _turned(of: str) -> tuple[int, ...]:
    """Ascends where ids descend: of texts of one length the first ids stay."""
    return tuple(-ord(character) for character in of)


def _too_long(of: str, tokens: int, settings: Any) -> dict[str, str]:
    reason = (
        f"the text has {tokens:,} tokens and a latent is trained for at most {settings.max_tokens:,}; raise "
        "`max_tokens`, or choose a smaller level"
    )
    return {"input": of, "locator": f"{settings.level} {of}", "reason": reason, "severity": "reject"}
