"""Answers with a cartridge of the evidence beside its text and its pages, of the same questions in one run.

A cartridge takes more than a minute, so few questions are asked. It is trained behind the sink of the pages, and
starts from the page of 4 bits, as `start: page` of a recipe does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.latents.training import trained
from bench.pages.answers import NOTHING, TEXT, Losses, Ways, answer_loss
from bench.pages.questions import Asked
from bench.report import Row, tell
from mnemic.pages.page import Page
from mnemic.pages.reading import PageReader, page_ids
from operators.latents.cartridge_training import CartridgeTrainer
from operators.latents.cartridges import TrainCartridges
from operators.latents.settings import LatentText

SHRUNK = "int4, kvzip 1/2"


def trained_rows(model: Any, tokenizer: Any, sink: Page, items: Sequence[Asked]) -> list[Row]:
    """Nats a token of the answers with nothing, text, page, shrunk page, and cartridge."""
    ways = Ways(PageReader(model), tokenizer, sink)
    trainer = CartridgeTrainer(TrainCartridges(start="page", min_tokens=40, max_tokens=900), model, tokenizer)
    losses, seconds = Losses(), list[float]()
    for number, item in enumerate(items, start=1):
        (ids,) = page_ids(tokenizer, [item.evidence])
        forms = ways.forms(ids)
        text = LatentText(item.question, tuple(ids), item.evidence, pages=("page",), stored=(forms["int4"],))
        row, cost = trained(trainer, text)
        cartridge = trainer.form.unpacked(row["places"], row["kv"], row["rows"], len(ids), "the evidence")
        seconds.append(cost)
        pages: dict[str, tuple[Page, ...]] = {
            NOTHING: (),
            TEXT: (forms["page"],),
            "int4": (forms["int4"],),
            SHRUNK: (forms[SHRUNK],),
            "untrained rows of the page": (trainer.start(text),),
            "cartridge": (cartridge,),
        }
        for way, own in pages.items():
            losses.add(way, answer_loss(ways.reader, tokenizer, item, [sink, *own] if own else []))
        means = ", ".join(f"{way} {losses.mean(way):.3f}" for way in losses.values)
        tell(f"{number} of {len(items)} questions with cartridges, {seconds[-1]:.0f} s: {means}")
    few = f"{len(items)} questions"
    return [
        *(Row("page_answers", f"{way}: nats a token, {few}", losses.mean(way), "nats") for way in losses.values),
        *(_kept(losses, way, few) for way in losses.values if way not in (NOTHING, TEXT)),
        Row("cartridge_seconds", "of a processor, to train and measure one", float(np.mean(seconds)), "s"),
    ]


def _kept(losses: Losses, way: str, few: str) -> Row:
    share = losses.share(way)
    words = f"{way}: of the text's gain ({share.low:.0f} to {share.high:.0f}, {few})"
    return Row("page_answers_kept", words, share.value, "%")
