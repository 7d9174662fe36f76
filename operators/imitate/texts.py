"""The text that a Memory Decoder is trained on: documents as tokens, with the teacher of each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.memories.texts import Texts
from operators.imitate.rows import taught, vector


@dataclass(frozen=True)
class TextRows:
    """The text that a Memory Decoder is trained on: the store's with its teacher, and held-out text for validation."""

    store: Texts
    teacher_ids: NDArray[np.int32]  # [n, m]
    teacher_probs: NDArray[np.uint8]  # [n, m], as `operators.teacher.targets` stores them
    validation: Texts
    validation_base_logprob: NDArray[np.float32]  # [v]

    @classmethod
    def from_arrow(
        cls, documents: pa.Table, store: pa.Table, validation: pa.Table, tokenizer: Any, limit: int
    ) -> TextRows:
        """From ``documents`` (id, text) and rows of the datastore; `Texts.from_arrow` says what is checked."""
        return cls(
            Texts.from_arrow(documents, store, tokenizer, limit),
            *taught(store),
            Texts.from_arrow(documents, validation, tokenizer, limit),
            vector(validation, "base_logprob", np.float32),
        )
