"""One fact that is to be written into a model: a subject, a relation, and the target that it goes on with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import ModelError
from mnemic.ids import hash_bytes, hash_parts
from mnemic.terminal import one_line

PLACE = "{}"
"""Where the subject stands in a sentence."""

MOST_NEIGHBOURS = 1000
"""Of all facts together: the system that is solved is as large as the number of facts and of kept neighbours."""


@dataclass(frozen=True)
class Statement:
    """``relation`` and ``paraphrases`` are sentences with `PLACE`; ``neighbours`` are other subjects of the relation.

    ``sets`` are names of groups that it is of, ``documents`` ids of those that say it, both in order; ``origin`` is the
    file, or the dataset and the row. ``tenant`` is that of its documents in a bank of several tenants; None in a bank
    of one, and for a fact that no document says.
    """

    subject: str
    relation: str
    target: str
    paraphrases: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    origin: str = ""
    tenant: str | None = None

    @property
    def fact(self) -> str:
        """The hash of what it says, whoever says it."""
        return hash_parts("statement", self.subject, self.relation, self.target)

    @property
    def id(self) -> str:
        return self.fact if self.tenant is None else hash_parts("statement of", self.fact, self.tenant)

    @property
    def prompt(self) -> str:
        return self.relation.replace(PLACE, self.subject)

    @property
    def text(self) -> str:
        """The fact as a sentence."""
        return f"{self.prompt} {self.target}."

    @property
    def before(self) -> str:
        """The fact as it stands before a prompt."""
        return self.text + "\n"

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Statement:
        """Of a row of `statements`."""
        lists = {name: tuple(row[name]) for name in ("paraphrases", "neighbours", "sets", "documents")}
        origin, tenant = row["origin"], row.get("tenant")
        return cls(row["subject"], row["relation"], row["target"], **lists, origin=origin, tenant=tenant)

    def columns(self) -> dict[str, Any]:
        """As a row of `statements` has it."""
        lists = {name: list(getattr(self, name)) for name in ("paraphrases", "neighbours", "sets", "documents")}
        texts = {name: getattr(self, name) for name in ("subject", "relation", "target", "origin")}
        return {"id": self.id, **texts, **lists, **({} if self.tenant is None else {"tenant": self.tenant})}


@dataclass(frozen=True, eq=False)
class SolvableStatement:
    """A ``statement``, and the ``values`` float32 [rows, n] that are solved for; see `mnemic.rewrites.datasets`."""

    statement: Statement
    values: NDArray[np.float32]

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> SolvableStatement:
        """Of a row of `statements`. Raises `ModelError` where its bytes are not those that were written."""
        cell, rows = row["values"], row["rows"]
        whole = hash_bytes(cell) == row["check"] and rows >= 1 and len(cell) % (4 * rows) == 0
        values = np.frombuffer(cell if whole else b"", "<f4")
        if not whole or not np.isfinite(values).all():
            raise ModelError(
                f"The statement {one_line(str(row['id']), 40)} is not what was written (its check differs); bring the "
                "dataset statements back from a copy, or build it again."
            )
        return cls(Statement.of_row(row), values.reshape(rows, -1))


def solved_together(rows: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Of rows of `statements` the ids of those that one solve is of, in order: of a tenant, where they say whose."""
    solves: dict[str | None, list[str]] = {}
    for row in rows:
        solves.setdefault(row.get("tenant"), []).append(row["id"])
    return sorted(sorted(ids) for ids in solves.values())


def neighbour_prompts(statements: Sequence[Statement]) -> list[tuple[str, str]]:
    """(relation, subject) of all that ``statements`` name as neighbours and none of them is about, in a drawn order."""
    own = {(one.relation, one.subject) for one in statements}
    named = {(one.relation, neighbour) for one in statements for neighbour in one.neighbours} - own
    return sorted(named, key=lambda pair: hash_parts("neighbour", *pair))


def guarded(statements: Sequence[Statement], share: float) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Neighbours whose keys the solve keeps where they are, a ``share`` of all; and those that only measure."""
    every = neighbour_prompts(statements)[:MOST_NEIGHBOURS]
    first = round(share * len(every))
    return every[:first], every[first:]
