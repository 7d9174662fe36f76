"""Held-out tokens of a bank, and what the model, the retriever and each memory say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic import languagemodel
from mnemic.bank import Bank
from mnemic.mixture import NOTHING, best_weight, mixture_nll
from mnemic.vectors import vectors
from operators.imitate import Texts, decoder_log_probs

RETRIEVER = "knn"
"""The name of kNN-LM itself among the memories."""


Memories = Mapping[str, tuple[Any, dict[str, Any]]]
"""By name a memory and its row."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out tokens in (document, position) order, and the log-probability of each: by the model, by each memory."""

    document: npt.NDArray[np.object_]
    token: npt.NDArray[np.int32]
    base: npt.NDArray[np.float64]
    memories: dict[str, npt.NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.token)

    @classmethod
    def read(cls, bank: Bank, where: str, memories: Memories) -> HeldOut:
        """Those of a part; the retriever's word stands in the datastore, the trained ``memories`` are asked."""
        columns = ["document", "position", "token", "base_logprob", "input", "teacher_label"]
        rows = bank.table("datastore", columns, where).sort_by([("document", "ascending"), ("position", "ascending")])
        label = rows["teacher_label"].to_numpy().astype(np.float64)
        scores = {RETRIEVER: np.log(np.maximum(label, NOTHING))}
        for name, (memory, row) in memories.items():
            says = _by_text if row["kind"] == "decoder" else _by_hidden_state
            scores[name] = says(bank, memory, row, rows) if len(rows) else np.zeros(0)
        return cls(
            rows["document"].to_numpy(),
            rows["token"].to_numpy().astype(np.int32),
            rows["base_logprob"].to_numpy().astype(np.float64),
            scores,
        )

    def weights(self) -> dict[str, float]:
        """The best mixing weight of each memory on these tokens."""
        return {name: best_weight(self.base, scores)[0] for name, scores in self.memories.items()}

    def losses(self, weights: dict[str, float]) -> dict[str, npt.NDArray[np.float64]]:
        """The loss of each token in nats: of the model alone as "base", and mixed with each memory."""
        mixed = {name: mixture_nll(self.base, scores, weights[name]) for name, scores in self.memories.items()}
        return {"base": -self.base, **mixed}


def trained(bank: Bank) -> Memories:
    """The trained memories of a bank, loaded; the retriever is not among them."""
    return {row["name"]: bank.memory(row["name"]) for row in bank.memories() if row["name"] != RETRIEVER}


def _by_hidden_state(bank: Bank, memory: Any, row: dict[str, Any], rows: pa.Table) -> npt.NDArray[np.float64]:
    import torch

    with torch.inference_mode():
        hidden = torch.from_numpy(vectors(rows["input"]))
        token = torch.from_numpy(rows["token"].to_numpy().astype(np.int64))
        said: Any = memory.token_log_prob(hidden, token).double().numpy()
    return said  # type: ignore[no-any-return]


def _by_text(bank: Bank, memory: Any, row: dict[str, Any], rows: pa.Table) -> npt.NDArray[np.float64]:
    """A Memory Decoder reads the documents again, with the model's tokenizer and the window of its training."""
    config, address = row["config"], bank.release.recipe["language_model"]
    ids = ", ".join(f"'{one}'" for one in sorted(set(rows["document"].to_pylist())))
    documents = bank.table("documents", ["id", "text"], f"id IN ({ids})")
    texts = Texts.from_arrow(documents, rows, languagemodel.tokenizer(address), config["tokens"])
    return decoder_log_probs(memory, texts, config["window"], config["stride"]).astype(np.float64)
