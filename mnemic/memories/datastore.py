"""The datastore of a bank as a kNN memory, "knn": the retriever that the other memories are taught by.

Temperature, neighbours and lists are those of the teacher. Its weight is chosen on validation rows, which have the
retriever's probability of their token stored beside the model's: neither a search nor a model runs for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic import languagemodel
from mnemic.errors import ModelError
from mnemic.languagemodel.head import LEAST_SURE
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import Memory, MemoryInfo, Scored
from mnemic.memories.reopened import Reopened
from mnemic.memories.shapes import is_count, is_positive
from mnemic.memories.trained import stored_rows
from mnemic.mixture import WEIGHT_WITHOUT_VALIDATION, best_weight
from mnemic.models import weights_hash
from mnemic.splits import STORE
from mnemic.vectors import vectors
from mnemic.view import View

if TYPE_CHECKING:
    from mnemic.attach.host import Entry, Host
    from mnemic.attach.output.schedules import Schedule
    from mnemic.memories.knn import KNNMemory
    from mnemic.neighbours.layout import Layout

NAME = "knn"
"""Of the kind and of its memory: a bank has one datastore."""
_SEARCHED = ("neighbours", "teacher_ids", "teacher_label")  # columns whose records tell of the search
_STEPS = ("neighbours", "teacher")
_VOTING = 2048  # rows whose neighbours are counted together


class DatastoreKind:
    """kNN-LM itself. A release has one such memory where its datastore has been searched."""

    name, title = NAME, "kNN-LM"

    def described(self, view: View) -> Iterable[MemoryInfo]:
        """The memory, with the lock of a trained one where there is one: to compute it takes the model."""
        config = _settings(view) if "datastore" in view else {}
        if not config:
            return []
        rows = HeldOutRows.read(view, columns=("base_logprob", "teacher_label"))
        weight = best_weight(rows.base, label_log_prob(rows))[0] if len(rows) else WEIGHT_WITHOUT_VALIDATION
        lock = next((info.lock for info in stored_rows(view)), {})
        return [MemoryInfo(NAME, NAME, NAME, _owner(view), config=config, lock=lock, metrics={"weight": weight})]

    def load(self, view: View, info: MemoryInfo) -> Memory:
        return DatastoreMemory(view, info)

    def lock(self, view: View, info: MemoryInfo) -> Mapping[str, str]:
        return lock(view)


KNN = DatastoreKind()


@dataclass(frozen=True)
class DatastoreMemory(Reopened):
    """The memory of one release. Its keys are read when they are first needed, and not for `scores`."""

    view: View
    info: MemoryInfo

    @cached_property
    def module(self) -> KNNMemory:
        return load(self.view, self.info.config)

    def enter(self, host: Host, weight: float | Schedule) -> Entry:
        return host.mix(self.module, weight)

    def scores(self, rows: HeldOutRows) -> npt.NDArray[np.float64]:
        return label_log_prob(rows)

    def scored(self, rows: HeldOutRows) -> Scored:
        """By the neighbours that stand in the datastore: nothing is searched again."""
        return Scored.of(NAME, label_log_prob(rows), confidence_of_votes(rows, self.info.config["temperature"]))


def load(view: View, config: Mapping[str, Any]) -> KNNMemory:
    """The module, with the ``config`` of its info: every key of the store is read, in the order of the teacher's."""
    import torch

    from mnemic.memories.knn import EXACT_ROWS, KNNMemory

    _refuse_config(config)
    datastore = view.dataset("datastore")
    ids = datastore.table(["document", "position", "token"], STORE)
    order = pc.sort_indices(ids, sort_keys=[("document", "ascending"), ("position", "ascending")]).to_numpy()
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    width = datastore.schema.field("key").type.list_size
    keys, at = np.empty((len(order), width), np.float16), 0
    for batch in datastore.scan(["key"], STORE):
        keys[place[at : at + len(batch)]] = vectors(batch.column("key"))
        at += len(batch)
    if not np.isfinite(keys).all():
        raise ModelError(f"The keys of the datastore of {view.path} are not all numbers; build the datastore again.")
    ordered = ids.take(order)
    names = ordered["document"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    token = ordered["token"].to_numpy().astype(np.int64)
    layout = None if len(keys) <= EXACT_ROWS else _layout(view, config.get("probes"))
    return KNNMemory(
        torch.from_numpy(keys),
        torch.from_numpy(token),
        torch.from_numpy(names.astype(np.int64)),
        config["temperature"],
        config["neighbours"],
        layout,
    )


def _refuse_config(config: Mapping[str, Any]) -> None:
    """Raise `ModelError` where the search that a bank has recorded is none."""
    wrong = [name for name in ("neighbours", "probes") if not is_count(config.get(name, 1))]
    wrong += [] if is_positive(config["temperature"]) else ["temperature"]
    if wrong:
        raise ModelError(
            f"The search of the datastore cannot have {wrong[0]} {config[wrong[0]]!r:.40}; the bank's records are "
            "damaged, so build the bank again."
        )


def label_log_prob(rows: HeldOutRows) -> npt.NDArray[np.float64]:
    """The retriever's log p of each row's own token, float64 [n]; -inf where no neighbour has it."""
    with np.errstate(divide="ignore"):
        logs: npt.NDArray[np.float64] = np.log(rows.table["teacher_label"].to_numpy().astype(np.float64))
    return logs


def confidence_of_votes(rows: HeldOutRows, temperature: float) -> npt.NDArray[np.float64]:
    """Largest log-probability and entropy of what the neighbours of each row vote for, float64 [n, 2]."""
    datastore, order = rows.view.dataset("datastore"), [("document", "ascending"), ("position", "ascending")]
    token = datastore.table(["document", "position", "token"], STORE).sort_by(order)["token"].to_numpy()
    parts = [pa.table({"document": [""], "position": pa.array([0], pa.int32()), "at": [0]}).slice(0, 0)]
    values = [np.zeros((0, 2))]
    for batch in datastore.scan(["document", "position", "neighbours", "distances"], rows.where, batch_size=_VOTING):
        place, distance = (vectors(batch[name]) for name in ("neighbours", "distances"))
        values.append(_voted(token, place, distance.astype(np.float64), temperature))
        at = np.arange(len(batch)) + sum(map(len, parts))
        parts.append(pa.table({"document": batch["document"], "position": batch["position"], "at": at}))
    placed = rows.ordered(pa.concat_tables(parts, promote_options="permissive"))["at"].to_numpy()
    confidence: npt.NDArray[np.float64] = np.concatenate(values)[placed]
    return confidence


def _voted(
    token: npt.NDArray[Any], place: npt.NDArray[Any], distance: npt.NDArray[np.float64], temperature: float
) -> npt.NDArray[np.float64]:
    """`confidence_of_votes` of rows [n, k] of neighbours: the votes of each token are summed where they touch."""
    there = place < len(token)  # the largest number of its type stands for none
    votes = np.where(there, token[np.where(there, place, 0)].astype(np.int64), -1)
    weight = np.where(there, -distance / temperature, -np.inf)
    weight = np.exp(weight - weight.max(axis=1, keepdims=True, initial=-1e300))
    order = np.argsort(votes, axis=1, kind="stable")
    votes, weight = np.take_along_axis(votes, order, 1), np.take_along_axis(weight, order, 1)
    begins = np.ones(votes.shape, bool)
    begins[:, 1:] = votes[:, 1:] != votes[:, :-1]
    share = np.add.reduceat(weight.reshape(-1), np.flatnonzero(begins))
    owner = np.nonzero(begins)[0]
    first = np.searchsorted(owner, np.arange(len(votes)))
    total = np.add.reduceat(share, first)
    share /= np.where(total > 0, total, 1.0)[owner]
    logs = np.log(np.maximum(share, np.exp(LEAST_SURE)))
    return np.stack([np.maximum.reduceat(logs, first), -np.add.reduceat(share * logs, first)], axis=1)


def lock(view: View) -> dict[str, str]:
    """`languagemodel.lock` of the model whose hidden states the datastore holds.

    A memory that was trained on it has it. Where there is none, the model that the recipe names is read once, if its
    files are those that the datastore was made with. Raises `ModelError` where they are not, or are not here.
    """
    recorded = ((view.dataset("datastore").record or {}).get("fields") or {}).get("model")
    trained = [record for record in view.release.lineage.values() if "teacher" in (record.get("reads") or {})]
    same = all(record["fields"].get("model", recorded) == recorded for record in trained)
    for info in stored_rows(view):
        if same and info.lock.get("weights"):
            return dict(info.lock)
    address = view.release.recipe["language_model"]
    if weights_hash(address) != recorded:
        raise ModelError(
            f"The language model {address} is not the one that this bank was built with (its files differ), so its "
            "hidden states cannot be compared with the stored keys. Install the version it was built with, or build "
            "the bank again."
        )
    return languagemodel.lock(*languagemodel.load(address))


def _settings(view: View) -> dict[str, Any]:
    """rows, temperature, neighbours, and probes where there are lists; nothing where there is nothing to search.

    They are read from the records of the columns, or else of the release, whichever step it was that searched.
    """
    datastore = view.dataset("datastore")
    if not set(_SEARCHED) <= set(datastore.schema.names):
        return {}
    records = [datastore.column_record(column) or {} for column in _SEARCHED]
    records += [dict(view.record(step)) for step in _STEPS]
    search: dict[str, Any] = {}
    for record in records:
        for part in ("found", "fields"):
            values = record.get(part) or {}
            for name in ("temperature", "probes"):
                if values.get(name) is not None:
                    search.setdefault(name, values[name])
    rows = datastore.count(STORE)
    if not rows or "temperature" not in search:
        return {}
    return {"rows": rows, "neighbours": datastore.schema.field("neighbours").type.list_size, **search}


def _owner(view: View) -> str:
    """The step that wrote what the retriever says of held-out rows."""
    record = view.dataset("datastore").column_record("teacher_label") or {}
    return str(record.get("step", ""))


def _layout(view: View, probes: int | None) -> Layout | None:
    """The lists that the teacher searched by, where the release has them; else they are found again."""
    import torch

    from mnemic.neighbours.layout import Layout

    if not probes or "lists" not in view:
        return None
    rows = view.dataset("lists").table(["list", "centroid"]).sort_by("list")
    if not len(rows):
        return None
    centroids = vectors(rows["centroid"], np.float32)
    width = view.dataset("datastore").schema.field("key").type.list_size
    if centroids.shape[1] != width or not np.isfinite(centroids).all():
        raise ModelError(
            f"The lists of the datastore of {view.path} are damaged: their centroids are not {width} numbers each; "
            "build the bank again."
        )
    return Layout(torch.from_numpy(centroids), probes)
