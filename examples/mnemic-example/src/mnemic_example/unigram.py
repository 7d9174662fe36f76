"""A kind of memory: how often the text of the bank has each token, whatever was said before.

Mixed at the output of a model it is the simplest cache language model. A bank has one wherever it has a datastore, so
nothing is trained: `described` tells what there is without loading torch, `load` counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mnemic.contracts import HeldOutRows, Memory, MemoryInfo, View
from mnemic.memories.datastore import lock
from mnemic.mixture import best_weight
from mnemic.splits import STORE

if TYPE_CHECKING:
    import torch

NAME = "unigram"


@dataclass(frozen=True)
class Counts:
    """A memory at the output: the same log-probabilities float32 [m] of ``tokens`` int64 [m], at every position."""

    tokens: torch.Tensor
    logs: torch.Tensor
    reads: Literal["hidden"] = "hidden"

    def placed(self, device: torch.device, dtype: torch.dtype) -> Counts:
        return replace(self, tokens=self.tokens.to(device), logs=self.logs.to(device))

    def log_probs(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.logs.expand(*hidden.shape[:-1], -1)


@dataclass(frozen=True)
class Unigram:
    view: View
    info: MemoryInfo

    @cached_property
    def _counted(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The tokens of the store in ascending order, [m], and their log-probabilities, [m]."""
        column = self.view.table("datastore", ["token"], STORE)["token"].to_numpy()
        tokens, counts = np.unique(column.astype(np.int64), return_counts=True)
        return tokens, np.log(counts / counts.sum())

    @cached_property
    def module(self) -> Counts:
        import torch

        tokens, logs = self._counted
        return Counts(torch.from_numpy(tokens), torch.from_numpy(logs.astype(np.float32)))

    def enter(self, host: Any, weight: Any) -> Any:
        return host.mix(self.module, weight)

    def scores(self, rows: HeldOutRows) -> NDArray[np.float64]:
        tokens, logs = self._counted
        place = np.searchsorted(tokens, rows.token).clip(max=len(tokens) - 1)
        return np.where(tokens[place] == rows.token, logs[place], -np.inf)


class UnigramKind:
    name, title = NAME, "unigram counts"

    def described(self, view: View) -> Iterable[MemoryInfo]:
        if "datastore" not in view or not view.dataset("datastore").count(STORE):
            return []
        info = MemoryInfo(NAME, NAME, NAME, owner="datastore")
        rows = HeldOutRows.read(view, columns=("token", "base_logprob"))
        weight = best_weight(rows.base, Unigram(view, info).scores(rows))[0] if len(rows) else 0.1
        return [replace(info, metrics={"weight": weight})]

    def load(self, view: View, info: MemoryInfo) -> Memory:
        return Unigram(view, info)

    def lock(self, view: View, info: MemoryInfo) -> Mapping[str, str]:
        return lock(view)  # the model whose tokens were counted


KIND = UnigramKind()
