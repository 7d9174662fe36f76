"""The datastore's pass against the bare forward pass with logits, over the same batches.

Documentation is read in windows of 512 tokens that advance by 256, so a document of up to 512 tokens is read once and
a longer one nearly twice; both sides read the same windows, padding included, in bfloat16 where the processor has it.
The bare pass computes every position's logits, as transformers does, and keeps none. The datastore's adds keys, student
inputs and log-probabilities of the true tokens, tokenising and Arrow, and leaves out logits that nobody reads.

Expected on machine B of LOG.md (2 cores of an Intel Xeon): capture_efficiency 1.05, capture_rate 1,800 tokens/s.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pyarrow as pa
import torch

from bench.report import Row, main, paired
from bench.teacher.keys import MODEL, documents
from mnemic import languagemodel
from mnemic.languagemodel.windows import window_batches
from operators.contracts import BatchFunction
from operators.datastore import Datastore


def measure(quick: bool) -> list[Row]:
    operator = Datastore(MODEL, max_document_tokens=1024)
    texts = documents()[: 24 if quick else 96]
    batch = pa.RecordBatch.from_pydict(
        {"id": [str(n) for n in range(len(texts))], "text": texts, "split": ["store"] * len(texts)}
    )
    work = operator.open("cpu")
    model, tokenizer = languagemodel.shared(operator.model, operator.dtype, "cpu")
    tokens = [np.asarray(row[: operator.max_document_tokens]) for row in tokenizer(texts)["input_ids"]]
    scored = sum(max(0, len(row) - 1) for row in tokens)
    passes = list(window_batches([len(row) for row in tokens], operator.window, operator.stride, operator.batch_tokens))

    def bare() -> float:
        started = time.perf_counter()
        with torch.inference_mode():
            for shape, members in passes:
                ids = np.zeros(shape, np.int64)
                for row, (document, part) in enumerate(members):
                    ids[row, : part.end - part.begin] = tokens[document][part.begin : part.end]
                model(input_ids=torch.from_numpy(ids), use_cache=False)
        return time.perf_counter() - started

    def ours() -> float:
        started = time.perf_counter()
        rows, _ = work(batch)
        assert rows.num_rows == scored
        return time.perf_counter() - started

    seconds, seconds_bare, ratio = paired(ours, bare, 1 if quick else 3)
    read = sum(shape[0] * shape[1] for shape, _ in passes)
    return [
        Row("capture_efficiency", "bare forward pass with logits over the datastore's pass", ratio, "", 0.9, 0.97),
        Row("capture_rate", f"tokens scored, {scored:,} of {len(texts)} documents", scored / seconds, "tokens/s"),
        Row("capture_rate_read", "tokens read, padding included", read / seconds, "tokens/s"),
        Row("bare_rate_read", "the same by the bare pass", read / seconds_bare, "tokens/s"),
        Row("bytes_per_token", "key, student's input, token, log-probability", _bytes(work, batch), "B"),
    ]


def _bytes(work: BatchFunction, batch: pa.RecordBatch) -> float:
    """Bytes of a row's columns that grow with the store."""
    rows, _ = work(batch.slice(0, 4))
    names = ("key", "input", "token", "base_logprob")
    return float(sum(rows[name].nbytes for name in names) / rows.num_rows)


if __name__ == "__main__":
    sys.exit(main("datastore", __doc__ or "", measure))
