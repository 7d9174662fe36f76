"""Memories at the output beside those inside the model: each alone, with what is inside, and all together.

A memory at the output says log p of held-out rows of the datastore without a pass of the model (`Memory.scores`), as
tuning asks it, so the index of suffixes is the one that may be evaluated. Its share is that of the bank's tuning, which
knows the model alone. Tokens of documents that are no rows of the datastore are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.bank import Bank
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import Memory, of_models
from mnemic.mixture import shares_nll
from pipelines.evaluate.bootstrap import Comparison, bootstrap

Losses = npt.NDArray[np.float64]

_LEAST = 1e-12  # share of the model, so that no token is impossible


class Scorable(Protocol):
    """A document with its tokens."""

    @property
    def id(self) -> str: ...

    @property
    def tokens(self) -> npt.NDArray[np.int32]: ...


def together(
    bank: Bank, where: str, documents: Sequence[Scorable], losses: Mapping[str, Sequence[Losses]], prefix: int
) -> dict[str, Comparison]:
    """Perplexity of mixtures against the model alone, by name: "mlp", "fetched + mlp", "mlp, knn", ...

    ``losses`` are those of each of ``documents`` from token ``prefix`` on, in nats: "base", and with each of the
    memories inside that are to be mixed.
    """
    memories = _outside(bank)
    if not memories or not documents:
        return {}
    rows = HeldOutRows.read(bank.view, where)
    places = _places(rows, documents, prefix)
    there = places >= 0
    if not there.any():
        return {}
    scored = {memory.info.name: memory.scores(rows) for memory in memories}
    owner = np.repeat(np.arange(len(documents)), [len(one.tokens) - prefix for one in documents])[there]
    flat = {name: np.concatenate(list(parts))[there] for name, parts in losses.items()}
    compared: dict[str, Comparison] = {}
    for names, shares in _mixtures(bank, memories):
        logs = [np.asarray(scored[name])[places[there]] for name in names]
        for inside, loss in flat.items():
            mixed = shares_nll([-loss, *logs], [max(1.0 - sum(shares), _LEAST), *shares])
            name = ", ".join(names) if inside == "base" else f"{inside} + {', '.join(names)}"
            compared[name] = bootstrap(flat["base"], mixed, owner)
    return compared


def _outside(bank: Bank) -> list[Memory]:
    """The memories at the output that a row of the datastore suffices for."""
    if "datastore" not in bank.view:
        return []
    loaded = [bank.memory(info.name) for info in of_models(bank.memories())]
    return [memory for memory in loaded if not getattr(memory, "inside", False)]


def _mixtures(bank: Bank, memories: Sequence[Memory]) -> Iterator[tuple[list[str], list[float]]]:
    """Names and shares: of each memory alone, and of all together."""
    names = [memory.info.name for memory in memories]
    for chosen in [*([name] for name in names), *([names] if len(names) > 1 else [])]:
        tuned = bank.tune(chosen)
        yield chosen, [tuned[name] for name in chosen]


def _places(rows: HeldOutRows, documents: Sequence[Scorable], prefix: int) -> npt.NDArray[np.int64]:
    """The row of each scored token, -1 where it is none: int64 [tokens]."""
    owner = pc.index_in(rows.table["document"], pa.array([one.id for one in documents], rows.table["document"].type))
    owner = pc.fill_null(owner, -1).to_numpy()
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(len(documents) + 1))
    position = rows.table["position"].to_numpy().astype(np.int64)
    parts = []
    for number, one in enumerate(documents):
        own = order[bounds[number] : bounds[number + 1]]
        place = np.full(len(one.tokens), -1, np.int64)
        place[position[own]] = own
        parts.append(place[prefix:])
    return np.concatenate(parts)
