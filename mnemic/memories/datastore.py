"""The datastore of a bank as a kNN memory, "knn": what the other memories were taught by.

Temperature, neighbours and lists are those of the teacher. Its weight is chosen on validation rows, which have the
retriever's probability of their token stored beside the model's: neither a search nor a model runs for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.mixture import WEIGHT_WITHOUT_VALIDATION, best_weight
from mnemic.splits import STORE, VALIDATION
from mnemic.vectors import vectors

if TYPE_CHECKING:
    from mnemic.bank import Bank
    from mnemic.memories.knn import KNNMemory
    from mnemic.neighbours.layout import Layout

NAME = "knn"
_SEARCHED = ("neighbours", "teacher_ids", "teacher_label")  # columns whose records tell of the search
_STEPS = ("neighbours", "teacher")


def described(bank: Bank) -> dict[str, Any] | None:
    """id, name, kind, epoch, config and metrics of the memory; None where the datastore has not been searched."""
    if "datastore" not in bank.release.versions:
        return None
    config = _settings(bank)
    if not config:
        return None
    rows = validation_rows(bank, ["base_logprob", "teacher_label"])
    weight = WEIGHT_WITHOUT_VALIDATION
    if len(rows):
        weight, _ = best_weight(rows["base_logprob"].to_numpy(), label_log_prob(rows))
    return {"id": NAME, "name": NAME, "kind": NAME, "epoch": 0, "config": config, "metrics": {"weight": weight}}


def load(bank: Bank, config: Mapping[str, Any]) -> KNNMemory:
    """The memory, with the ``config`` of `described`: every key of the store is read, in the order of the teacher's."""
    import torch

    from mnemic.memories.knn import EXACT_ROWS, KNNMemory

    datastore = bank.dataset("datastore")
    ids = datastore.table(["document", "position", "token"], STORE)
    order = pc.sort_indices(ids, sort_keys=[("document", "ascending"), ("position", "ascending")]).to_numpy()
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    width = datastore.schema.field("key").type.list_size
    keys, at = np.empty((len(order), width), np.float16), 0
    for batch in datastore.scan(["key"], STORE):
        keys[place[at : at + len(batch)]] = vectors(batch.column("key"))
        at += len(batch)
    ordered = ids.take(order)
    names = ordered["document"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    token = ordered["token"].to_numpy().astype(np.int64)
    layout = None if len(keys) <= EXACT_ROWS else _layout(bank, config.get("probes"))
    return KNNMemory(
        torch.from_numpy(keys),
        torch.from_numpy(token),
        torch.from_numpy(names.astype(np.int64)),
        config["temperature"],
        config["neighbours"],
        layout,
    )


def validation_rows(bank: Bank, columns: Sequence[str]) -> pa.Table:
    """``columns`` of the validation rows, in the order of their documents and positions."""
    wanted = list(dict.fromkeys(("document", "position", *columns)))
    rows = bank.dataset("datastore").table(wanted, VALIDATION)
    return rows.sort_by([("document", "ascending"), ("position", "ascending")])


def label_log_prob(rows: pa.Table) -> npt.NDArray[np.float64]:
    """The retriever's log-probability of each row's own token, from its column ``teacher_label``."""
    with np.errstate(divide="ignore"):
        logs: npt.NDArray[np.float64] = np.log(rows["teacher_label"].to_numpy().astype(np.float64))
    return logs


def _settings(bank: Bank) -> dict[str, Any]:
    """rows, temperature, neighbours, and probes where there are lists; nothing where there is nothing to search.

    They are read from the records of the columns, or else of the release, whichever step it was that searched.
    """
    datastore = bank.dataset("datastore")
    if not set(_SEARCHED) <= set(datastore.schema.names):
        return {}
    records = [datastore.column_record(column) for column in _SEARCHED]
    records += [bank.release.lineage.get(step) for step in _STEPS]
    told: dict[str, Any] = {}
    for record in records:
        for part in ("found", "fields"):
            values = (record or {}).get(part) or {}
            for name in ("temperature", "probes"):
                if values.get(name) is not None:
                    told.setdefault(name, values[name])
    rows = datastore.count(STORE)
    if not rows or "temperature" not in told:
        return {}
    return {"rows": rows, "neighbours": datastore.schema.field("neighbours").type.list_size, **told}


def _layout(bank: Bank, probes: int | None) -> Layout | None:
    """The lists that the teacher searched by, where the release has them; else they are found again."""
    import torch

    from mnemic.neighbours.layout import Layout

    if not probes or "lists" not in bank.release.versions:
        return None
    rows = bank.dataset("lists").table(["list", "centroid"]).sort_by("list")
    if not len(rows):
        return None
    return Layout(torch.from_numpy(vectors(rows["centroid"], np.float32)), int(probes))
