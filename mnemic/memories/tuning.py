"""Weights of several memories together, best on the validation rows of a bank.

Each memory's own best weight is tuned against the model alone; those of several may sum to more than 1, and each has
less to add beside another. The rows hold the model's log-probability and what the memories read, so none of the model's
passes is made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.errors import ModelError
from mnemic.memories import datastore as retriever
from mnemic.mixture import WEIGHT_WITHOUT_VALIDATION, best_shares
from mnemic.vectors import vectors

if TYPE_CHECKING:
    import torch

    from mnemic.attach.output.schedules import Schedule
    from mnemic.bank import Bank

    Memories = str | Sequence[str] | Mapping[str, float | Schedule]
    Weights = float | Schedule | Sequence[float | Schedule] | None

_COLUMNS = ("token", "base_logprob", "input", "teacher_label")
_READ = 512  # tokens of a document that a decoder reads at once
_BATCH = 16


def tune(bank: Bank, names: Sequence[str]) -> dict[str, float]:
    """Weights of these memories together, best on the validation rows; 0.25 in equal shares where there are none."""
    rows = retriever.validation_rows(bank, _COLUMNS)
    if not len(rows):
        return {name: WEIGHT_WITHOUT_VALIDATION / len(names) for name in names}
    scores = np.stack([rows["base_logprob"].to_numpy(), *(_scores(bank, name, rows) for name in names)])
    base, *memories = scores[:, ~np.isnan(scores).any(axis=0)]
    weights, _ = best_shares(base, memories)
    return dict(zip(names, weights, strict=True))


def chosen(bank: Bank, memory: Memories, weight: Weights) -> dict[str, float | Schedule]:
    """The weight of each memory that is to be attached, as `Bank.attach` is asked for them.

    Without weights, one memory has its own and several are tuned together. Raises `ModelError` where names and weights
    do not fit together.
    """
    if isinstance(memory, Mapping):
        if weight is not None:
            raise ModelError("The memories come with their weights already; leave `weight` out, or give names alone.")
        return dict(memory)
    names = [memory] if isinstance(memory, str) else list(memory)
    if not names or len(set(names)) < len(names):
        raise ModelError(f"Each memory is attached once, and at least one, got {names}; name different ones.")
    if weight is None:
        if len(names) > 1:
            return {**tune(bank, names)}
        return {names[0]: bank.memory_row(names[0])["metrics"]["weight"]}
    weights: list[Any] = list(weight) if isinstance(weight, list | tuple) else [weight]
    if len(weights) != len(names):
        raise ModelError(
            f"There are {len(names)} memories and {len(weights)} weights; give a list with one for each, or none to "
            "have them tuned together."
        )
    return dict(zip(names, weights, strict=True))


def _scores(bank: Bank, name: str, rows: pa.Table) -> npt.NDArray[np.float64]:
    """log p of the true token of each validation row, by the memory called ``name``."""
    import torch

    if name == retriever.NAME:
        return retriever.label_log_prob(rows)
    memory: Any
    memory, row = bank.memory(name)
    token = torch.from_numpy(rows["token"].to_numpy().astype(np.int64))
    with torch.inference_mode():
        if row["kind"] == "decoder":
            return _decoded(memory, rows["document"].to_numpy(), token)
        hidden = torch.from_numpy(vectors(rows["input"]))
        scores: npt.NDArray[np.float64] = memory.token_log_prob(hidden, token).double().numpy()
    return scores


def _decoded(memory: Any, document: npt.NDArray[Any], token: torch.Tensor) -> npt.NDArray[np.float64]:
    """log p of each token by a decoder that reads the tokens before it in its document.

    A document's first token is in no row, so it reads from the second on. What has nothing before it there, once in
    512 tokens, is not a number.
    """
    import torch

    scores = np.full(len(token), np.nan)
    at = torch.searchsorted(memory.tokens, token).clamp(max=len(memory.tokens) - 1)
    known = memory.tokens[at] == token
    for batch in _runs(document):
        longest = max(end - begin for begin, end in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.int64)
        for line, (begin, end) in enumerate(batch):
            ids[line, : end - begin] = token[begin:end]
        said = memory(ids)
        for line, (begin, end) in enumerate(batch):
            true = said[line, : end - begin - 1].gather(1, at[begin + 1 : end, None])[:, 0]
            scores[begin + 1 : end] = true.masked_fill(~known[begin + 1 : end], -torch.inf).double().numpy()
    return scores


def _runs(document: npt.NDArray[Any]) -> Iterator[list[tuple[int, int]]]:
    """Batches of (begin, end) of rows of one document, which lie together, of at most 512 rows each."""
    edges = [0, *(np.flatnonzero(document[1:] != document[:-1]) + 1).tolist(), len(document)]
    runs = [(start, min(start + _READ, end)) for begin, end in pairwise(edges) for start in range(begin, end, _READ)]
    for first in range(0, len(runs), _BATCH):
        yield runs[first : first + _BATCH]
