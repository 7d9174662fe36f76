"""Cartridges of two articles, each trained for 200 steps; and texts of 8 tokens that are rebuilt from one vector."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from bench import data
from bench.latents.training import trained
from bench.report import Row, tell
from operators.latents.cartridge_training import CartridgeTrainer
from operators.latents.cartridges import TrainCartridges
from operators.latents.memory_tokens import TrainMemoryTokens
from operators.latents.settings import LatentEpoch, LatentText

ARTICLE = 768
"""Tokens of an article."""

CHOSEN = {True: (3,), False: (3, 11)}
"""Whether the run is quick -> which of the articles that are long enough. The settings were chosen on the first."""

_TITLE = re.compile(r"\n = [^=].*? = \n")


def articles(tokenizer: Any, length: int) -> list[list[int]]:
    """The articles of WikiText-2 that have at least ``length`` tokens, so many of each."""
    texts = _TITLE.split(data.path("wikitext-2").read_text())[1:]
    ids = (tokenizer(text.strip(), add_special_tokens=False)["input_ids"] for text in texts)
    return [one[:length] for one in ids if len(one) >= length]


def article_rows(quick: bool, model: Any, tokenizer: Any) -> list[Row]:
    """KL of the model with the cartridge over that of its untrained rows, on sampled sequences held out."""
    steps = 20 if quick else 200
    settings = TrainCartridges(  # a step reads two sequences, and each is read once
        sampled=steps, quoted=steps // 2, reread=steps // 2, held_out=8 if quick else 24, epochs=1, batch=78, most=1
    )
    trainer = CartridgeTrainer(settings, model, tokenizer)
    every = articles(tokenizer, ARTICLE)
    return [row for number in CHOSEN[quick] for row in _article_rows(quick, trainer, every[number], number, steps)]


def _article_rows(quick: bool, trainer: CartridgeTrainer, ids: list[int], number: int, steps: int) -> list[Row]:
    name = f"article {number}"

    def each(epoch: LatentEpoch) -> None:
        tell(f"{name}, epoch {epoch.checkpoint.epoch}: KL {epoch.checkpoint.metrics['train_kl']:.3f}")

    row, seconds = trained(trainer, LatentText(name, tuple(ids), name), each)
    measured = json.loads(row["metrics"])
    ratios = {kind: measured[f"kl_trained_{kind}"] / measured[f"kl_start_{kind}"] for kind in ("sampled", "reread")}
    words = f"{name}: 64 rows of {ARTICLE} tokens, KL on {{}} sequences after {steps} steps over that before"
    must, goal = (None, None) if quick else (0.60, 0.45)
    rows = [
        Row("cartridge_64", words.format("sampled"), ratios["sampled"], "x", must, goal, higher_is_better=False),
        Row("cartridge_64", words.format("re-read"), ratios["reread"], "x", higher_is_better=False),
        Row("cartridge_64", f"{name}: KL sampled, before training", measured["kl_start_sampled"], "nats"),
        Row("cartridge_64", f"{name}: seconds of a processor", seconds, "s"),
    ]
    for one in rows:
        tell(f"{one.id}: {one.value:.3f} {one.unit} {one.metric}")
    return rows


def token_rows(quick: bool, model: Any, tokenizer: Any) -> list[Row]:
    """The share of texts of 8 tokens that come back from one vector within 200 steps."""
    settings = TrainMemoryTokens(steps=25, epochs=8, tokens_a_vector=8)
    trainer = settings.trainer(model, tokenizer)
    exact, seconds = list[bool](), list[float]()
    for number, ids in enumerate(articles(tokenizer, 48)[: 2 if quick else 10]):
        text = LatentText(f"text {number}", tuple(ids[40:48]), f"text {number}")
        row, cost = trained(trainer, text)
        exact.append(row["exact"])
        seconds.append(cost)
        tell(f"text {number}: {row['right']} of 8 tokens after {row['steps']} steps, {seconds[-1]:.0f} s")
    must, goal = (None, None) if quick else (90.0, 100.0)
    return [
        Row(
            "token_exact",
            f"{len(exact)} texts of 8 tokens from one vector",
            100 * float(np.mean(exact)),
            "%",
            must,
            goal,
        ),
        Row("token_seconds", "of a processor a text", float(np.mean(seconds)), "s"),
    ]
