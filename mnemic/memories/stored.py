"""The memories of a bank: what there is, each loaded, and the model that they belong to.

Trained memories are rows of the dataset `memories`; the kNN memory, "knn", is the datastore itself (`retriever`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mnemic.errors import BankError, ModelError
from mnemic.memories import datastore as retriever
from mnemic.models import weights_hash

if TYPE_CHECKING:
    from mnemic.bank import Bank
    from mnemic.memories.decoder import MemoryDecoder
    from mnemic.memories.knn import KNNMemory
    from mnemic.memories.mlp import MLPMemory


def described(bank: Bank) -> list[dict[str, Any]]:
    """id, name, kind, epoch, config, lock and metrics of each memory, the trained ones first."""
    found = []
    if "memories" in bank.release.versions:
        columns = ["id", "name", "kind", "epoch", "config", "lock", "metrics"]
        rows = bank.dataset("memories").table(columns, "final = true").to_pylist()
        found = [{**row, **{name: json.loads(row[name]) for name in ("config", "lock", "metrics")}} for row in rows]
    own = retriever.described(bank)
    return found if own is None else [*found, {**own, "lock": found[0]["lock"] if found else {}}]


def named(bank: Bank, name: str) -> dict[str, Any]:
    """The row of the memory called ``name``. Raises `BankError` where there is none."""
    found = {row["name"]: row for row in bank.memories()}
    if not found:
        raise BankError(
            f"{bank.path} has no parametric memory: its recipe names no `language_model`, or its text was too "
            "little for one. `mnemic show` gives the funnel; add a model or more text and build again."
        )
    if name not in found:
        raise BankError(f"{bank.path} has no memory {name!r}. It has: {', '.join(found)}.")
    return found[name]


def load(bank: Bank, name: str) -> tuple[MLPMemory | MemoryDecoder | KNNMemory, dict[str, Any]]:
    """The memory called ``name`` as a module, and its row. Raises `BankError` where there is none."""
    row = named(bank, name)
    if row["kind"] == retriever.NAME:
        return retriever.load(bank, row["config"]), row
    data = bank.dataset("memories").table(["weights"], f"id = '{row['id']}'")["weights"][0].as_py()
    if row["kind"] == "mlp":
        from mnemic.memories.mlp import MLPMemory

        return MLPMemory.from_bytes(data), row
    if row["kind"] == "decoder":
        from mnemic.memories.decoder import MemoryDecoder

        return MemoryDecoder.from_bytes(data), row
    raise BankError(f"{bank.path} has a memory of kind {row['kind']!r}, which this mnemic does not know; update it.")


def lock_of(bank: Bank, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What the model of these memories must be. Raises `ModelError` where they are of different ones."""
    locks = [lock(bank) if row["kind"] == retriever.NAME else row["lock"] for row in rows]
    if len({one["weights"] for one in locks}) > 1:
        raise ModelError(
            f"The memories {', '.join(row['name'] for row in rows)} were made for different models; attach those of "
            "one, or build the bank again."
        )
    return dict(locks[0])


def lock(bank: Bank) -> dict[str, str]:
    """`languagemodel.lock` of the model whose hidden states the datastore holds.

    A memory that was trained on it has it. Where there is none, the model that the recipe names is read once, if its
    files are those that the datastore was made with. Raises `ModelError` where they are not, or are not here.
    """
    recorded = ((bank.dataset("datastore").record or {}).get("fields") or {}).get("model")
    trained = [record for record in bank.release.lineage.values() if "teacher" in (record.get("reads") or {})]
    same = all(record["fields"].get("model", recorded) == recorded for record in trained)
    for row in bank.memories():
        if same and row["lock"].get("weights"):
            return dict(row["lock"])
    from mnemic import languagemodel

    address = bank.release.recipe["language_model"]
    if weights_hash(address) != recorded:
        raise ModelError(
            f"The language model {address} is not the one that this bank was built with (its files differ), so its "
            "hidden states cannot be compared with the stored keys. Install the version it was built with, or build "
            "the bank again."
        )
    return languagemodel.lock(*languagemodel.load(address))
