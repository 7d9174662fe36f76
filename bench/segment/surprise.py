"""Cost of surprise above the forward pass that it needs.

The peer is the same model on the same batches with its logits, ``model(input_ids)``, and nothing else: no log-softmax,
nothing read out. A pair is one batch: 1,280 tokens of a WikiText-2 article are four windows of 512 that advance by 256.
The full run adds the hardest case, four articles of 512 tokens each, where nothing is read twice and so every row of
the batch goes through the output head. Rates count scored tokens, from token ids, on two threads.

Expected on machine A of LOG.md (2 cores of an AMD EPYC): surprise_efficiency 1.01, 0.98 where every position is scored;
487 tokens/s of surprisal, 491 of the bare pass, 480 of all three signals.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench import data
from bench.report import Row, main, paired
from mnemic import languagemodel
from mnemic.languagemodel.windows import padded_windows, window_batches
from operators.reading.scoring import token_surprise
from operators.reading.settings import SIGNALS
from operators.surprise import Surprise

Tokens = list[npt.NDArray[np.int32]]

WINDOW, STRIDE, BATCH_TOKENS = 512, 256, 2048
LONG = WINDOW + 3 * STRIDE


def surprise_rows(quick: bool) -> list[Row]:
    """The rate of surprisal against the bare forward pass of SmolLM2-135M; 7,680 tokens if quick, else 15,872."""
    torch.set_num_threads(2)
    model, tokenizer = languagemodel.load(Surprise().model)
    text = data.path("wikitext-2").read_text(encoding="utf-8")
    articles = re.split(r"^(?= = [^=].*[^=] = $)", text, flags=re.MULTILINE)[1:40]
    tokens = [np.array(row, np.int32) for row in tokenizer(articles, add_special_tokens=False)["input_ids"]]
    tokens = [row for row in tokens if len(row) >= LONG]
    rows = _against_bare(model, [[row[:LONG]] for row in tokens[:6]], "", must=0.9, goal=0.97)
    if not quick:
        single = [[row[:WINDOW] for row in tokens[first : first + 4]] for first in range(0, 16, 4)]
        rows += _against_bare(model, single, "_single_windows")
    return rows


def _against_bare(
    model: Any, batches: list[Tokens], name: str, *, must: float | None = None, goal: float | None = None
) -> list[Row]:
    scored = sum(len(row) - 1 for row in batches[0])
    _seconds(model, batches[0], SIGNALS)
    _bare_seconds(model, batches[0])
    ours, bare = iter(batches), iter(batches)
    own, peer, ratio = paired(
        lambda: _seconds(model, next(ours), ("surprisal",)), lambda: _bare_seconds(model, next(bare)), len(batches)
    )
    every = statistics.median(_seconds(model, batch, SIGNALS) for batch in batches[:3])
    metric = f"tokens/s of surprisal against the bare pass, {len(batches)} batches"
    return [
        Row(f"surprise_efficiency{name}", metric, ratio, "x", must, goal, peer="model(input_ids) with logits"),
        Row(f"surprise_rate{name}", "surprisal", scored / own, "tokens/s"),
        Row(f"surprise_rate_bare{name}", "bare forward pass with logits", scored / peer, "tokens/s"),
        Row(f"surprise_rate_all{name}", "surprisal, entropy and Bayesian surprise", scored / every, "tokens/s"),
    ]


def _seconds(model: Any, tokens: Tokens, signals: tuple[str, ...]) -> float:
    started = time.perf_counter()
    token_surprise(model, tokens, signals, window=WINDOW, stride=STRIDE, batch_tokens=BATCH_TOKENS)
    return time.perf_counter() - started


def _bare_seconds(model: Any, tokens: Tokens) -> float:
    ((shape, members),) = window_batches([len(row) for row in tokens], WINDOW, STRIDE, BATCH_TOKENS)
    ids = torch.from_numpy(padded_windows(tokens, shape, members))
    started = time.perf_counter()
    with torch.inference_mode():
        model(input_ids=ids, use_cache=False)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main("segment.surprise", __doc__ or "", surprise_rows))
