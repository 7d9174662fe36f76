"""Trained memories: rows of the dataset `memories`, each with the weights of a `Student`.

* ``MLP``      reads one hidden vector of the model, at the block that its config names as ``student_layer``
* ``DECODER``  reads the text itself, in windows of ``window`` tokens that advance by ``stride``, up to ``tokens``
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import BankError, ModelError
from mnemic.facts import ADVICE, check_types, mapping
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import Memory, MemoryInfo, Scored
from mnemic.memories.shapes import is_count
from mnemic.memories.texts import Texts, decoder_answers
from mnemic.quoting import quoted
from mnemic.terminal import one_line
from mnemic.vectors import vectors
from mnemic.view import View, fitting

if TYPE_CHECKING:
    from mnemic.attach.host import Entry, Host
    from mnemic.attach.output.schedules import Schedule
    from mnemic.memories.decoder import MemoryDecoder
    from mnemic.memories.mlp import MLPMemory

_COLUMNS = ("id", "name", "kind", "epoch", "config", "lock", "metrics")


class StoredKind:
    """A kind whose memories are rows of `memories`, with their lock on a model."""

    name: str

    def described(self, view: View) -> Iterable[MemoryInfo]:
        return [info for info in stored_rows(view) if info.kind == self.name]

    def lock(self, view: View, info: MemoryInfo) -> Mapping[str, str]:
        return info.lock


@dataclass(frozen=True)
class TrainedKind(StoredKind):
    """A kind whose memories are their weights; ``read`` makes one of its info and these."""

    name: str
    title: str
    read: Callable[[MemoryInfo, bytes], Memory]

    def load(self, view: View, info: MemoryInfo) -> Memory:
        return self.read(info, stored_weights(view, info))


def stored_weights(view: View, info: MemoryInfo) -> bytes:
    """The weights in the row of a memory."""
    with fitting(view, f"The rows of the memory {one_line(info.name, 40)}"):
        weights: bytes = view.dataset("memories").table(["weights"], f"id = {quoted(info.id)}")["weights"][0].as_py()
    return weights


def stored_rows(view: View) -> list[MemoryInfo]:
    """The finished memories in the dataset `memories`, of whatever kind, in the order of its rows."""
    if "memories" not in view:
        return []
    dataset = view.dataset("memories")
    own = "record" in dataset.schema.names  # banks before several memories have one record for all rows
    rows = dataset.table([*_COLUMNS, "record"] if own else list(_COLUMNS), "final = true").to_pylist()
    infos = []
    for row in rows:
        place = f"The memory {one_line(str(row['name']), 40)} of {view.path}"
        record = mapping(row.pop("record"), f"{place}: record") if own else dataset.record or {}
        parsed = {name: mapping(row[name], f"{place}: {name}") for name in ("config", "lock", "metrics")}
        check_types(row, {"id": str, "name": str, "kind": str, "epoch": int}, place)
        results = record.get("found")
        if isinstance(results, dict) and "function" in results:
            parsed["lock"]["function"] = results["function"]
        if not all(isinstance(value, str) for value in parsed["lock"].values()):
            raise BankError(f"{place}: the lock names no hashes. {ADVICE}")
        metrics = parsed["metrics"]
        check_types(metrics, dict.fromkeys(metrics, (int, float)), f"{place}: metrics")
        if not 0.0 <= metrics.get("weight", 0.0) <= 1.0:
            raise BankError(f"{place}: metrics has the weight {metrics['weight']:g}, not one of 0 to 1. {ADVICE}")
        infos.append(MemoryInfo(**{**row, **parsed}, owner=str(record.get("step", ""))))
    return infos


@dataclass(frozen=True)
class VectorMemory:
    """A memory that reads the feed-forward input of the block ``student_layer`` (None: the last)."""

    info: MemoryInfo
    module: MLPMemory

    def enter(self, host: Host, weight: float | Schedule) -> Entry:
        layer = self.info.config.get("student_layer")
        if layer is not None and (isinstance(layer, bool) or not isinstance(layer, int)):
            raise ModelError(
                f"The memory {self.info.name} reads the block {layer!r:.40}, which is no number; build the memory "
                "again."
            )
        return host.mix(self.module, weight, layer=layer)

    def scores(self, rows: HeldOutRows) -> NDArray[np.float64]:
        import torch

        with torch.inference_mode():
            hidden = torch.from_numpy(vectors(rows.table["input"]))
            logs = self.module.token_log_prob(hidden, torch.from_numpy(rows.token))
        return logs.double().numpy()

    def scored(self, rows: HeldOutRows) -> Scored:
        import torch

        with torch.inference_mode():
            hidden = torch.from_numpy(vectors(rows.table["input"]))
            logs, confidence = self.module.token_answers(hidden, torch.from_numpy(rows.token))
        return Scored.of(self.info.name, logs.double().numpy(), confidence.double().numpy())


@dataclass(frozen=True)
class DecoderMemory:
    """A memory that reads the text beside the model."""

    info: MemoryInfo
    module: MemoryDecoder

    def enter(self, host: Host, weight: float | Schedule) -> Entry:
        return host.mix(self.module, weight)

    def scores(self, rows: HeldOutRows) -> NDArray[np.float64]:
        """log p of each row's token, read in the windows of the training: the one way in which a decoder is scored.

        Tuning and evaluation both call it, so a weight is chosen by the numbers that are then reported. It needs the
        documents' texts and the tokenizer of the recipe's model. Raises `StepError` where a row is not in its text.
        """
        return self._read(rows)[:, 0]

    def scored(self, rows: HeldOutRows) -> Scored:
        values = self._read(rows)
        return Scored.of(self.info.name, values[:, 0], values[:, 1:])

    def _read(self, rows: HeldOutRows) -> NDArray[np.float64]:
        """log p of each row's token and the `CONFIDENCE` of what predicts it, float64 [n, 3]."""
        config = self.info.config
        wrong = [name for name in ("window", "stride", "tokens") if not is_count(config.get(name))]
        if wrong:
            raise ModelError(
                f"The memory {self.info.name} was read in windows with {wrong[0]} {config.get(wrong[0])!r:.40}, which "
                "cannot be; build the memory again."
            )
        texts = Texts.from_arrow(rows.documents, rows.table, rows.tokenizer, config["tokens"])
        return decoder_answers(self.module, texts, config["window"], config["stride"]).astype(np.float64)


def _mlp(info: MemoryInfo, weights: bytes) -> Memory:
    from mnemic.memories.mlp import MLPMemory

    return VectorMemory(info, MLPMemory.from_bytes(weights))


def _decoder(info: MemoryInfo, weights: bytes) -> Memory:
    from mnemic.memories.decoder import MemoryDecoder

    return DecoderMemory(info, MemoryDecoder.from_bytes(weights))


MLP = TrainedKind("mlp", "MLP memory", _mlp)
DECODER = TrainedKind("decoder", "Memory Decoder", _decoder)
