"""The memories of a release that were trained on documents, and how much of their training these were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.dataset import Store
from mnemic.kept import KEPT
from mnemic.memories.classifier import NAME as CLASSIFIER
from mnemic.memories.trained import stored_rows
from mnemic.release import Release
from mnemic.removals import OF_ROWS, examples_of
from mnemic.splits import STORE
from mnemic.view import View


@dataclass(frozen=True)
class LearntFrom:
    """A memory, and the tokens that each of the ``documents`` gave to its training; ``share`` is theirs of all."""

    id: str
    name: str
    documents: Mapping[str, int]
    share: float


def learners(store: Store, release: Release, ids: pa.Array) -> list[LearntFrom]:
    """The trained memories of ``release`` that learnt from one of the documents ``ids``."""
    view = View(store, release)
    infos = stored_rows(view)
    if not infos or not len(ids):
        return []
    tokens, all_tokens = _tokens(view, ids)
    learnt = []
    for info in infos:
        if info.kind in OF_ROWS:
            continue
        if info.kind == CLASSIFIER:
            examples = examples_of(view.dataset("memories"), info.id)
            mine = {document: 0 for document in ids.to_pylist() if document in examples}
            share = len(mine) / max(len(examples), 1)
        elif "datastore" not in view:  # blocks and slots need none
            mine, share = _texts(view, ids)
        else:
            mine, share = tokens, sum(tokens.values()) / max(all_tokens, 1)
        if mine:
            learnt.append(LearntFrom(info.id, info.name, mine, share))
    return learnt


def _texts(view: View, ids: pa.Array) -> tuple[dict[str, int], float]:
    """The documents among ``ids`` that memories are trained on, without their tokens, and their share of all."""
    trained = view.dataset("documents").table(["id"], f"{KEPT} AND {STORE}")["id"]
    mine = trained.filter(pc.is_in(trained, value_set=ids)).to_pylist()
    return dict.fromkeys(mine, 0), len(mine) / max(len(trained), 1)


def _tokens(view: View, ids: pa.Array) -> tuple[dict[str, int], int]:
    """Tokens of the store of each of these documents that has some, and of all documents."""
    if "datastore" not in view:
        return {}, 0
    counts: dict[str, int] = {}
    every = 0
    for batch in view.dataset("datastore").scan(["document"], STORE, batch_size=65536):
        every += batch.num_rows
        rows = batch["document"].filter(pc.is_in(batch["document"], value_set=ids))
        for entry in rows.value_counts().to_pylist():
            counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
    return counts, every
