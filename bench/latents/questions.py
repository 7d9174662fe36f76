"""Answers of LoCoMo's questions with what the model has of their evidence: nothing, text, rows of it, a cartridge."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench import data
from bench.latents.training import trained
from bench.report import Row, tell
from mnemic.pages.page import Page
from operators.latents.cartridge_training import CartridgeTrainer
from operators.latents.cartridges import TrainCartridges
from operators.latents.settings import LatentText
from pipelines.evaluate.bootstrap import document_sums, interval
from pipelines.evaluate.gain import recovered

QUESTIONS = {True: 4, False: 16}
AROUND = 2
"""Turns before and after that of the evidence."""

Losses = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class AskedEvent:
    """A question, its answer, and the turns around its evidence."""

    event: str
    question: str
    answer: str


def asked_events() -> list[AskedEvent]:
    """The questions of category 4 whose evidence the conversations have, in an order that is drawn once."""
    questions = []
    for sample in json.loads(data.path("locomo").read_text()):
        sessions = {name: turns for name, turns in sample["conversation"].items() if re.fullmatch(r"session_\d+", name)}
        places = {turn["dia_id"]: (name, at) for name, turns in sessions.items() for at, turn in enumerate(turns)}
        for one in sample["qa"]:
            evidence = [name for name in one.get("evidence", ()) if name in places]
            if one["category"] == 4 and evidence:
                session, at = places[evidence[0]]
                turns = sessions[session][max(0, at - AROUND) : at + AROUND + 1]
                event = "".join(f"{turn['speaker']}: {turn['text']}\n" for turn in turns)
                questions.append(AskedEvent(event, one["question"], str(one["answer"])))
    random.Random(1).shuffle(questions)
    return questions


def question_rows(quick: bool, model: Any, tokenizer: Any) -> list[Row]:
    """Nats a token of the answers, the share of the text's gain that is kept, bytes, and seconds of training."""
    questions = asked_events()
    settings = TrainCartridges(min_tokens=40, max_tokens=900)
    trainer = CartridgeTrainer(settings, model, tokenizer)
    losses: dict[str, list[Losses]] = {}
    seconds, kept_rows, tokens, refused = list[float](), list[int](), list[int](), 0
    before: Page | None = None
    for number, one in enumerate(questions[: QUESTIONS[quick]]):
        ids = tokenizer(one.event, add_special_tokens=False)["input_ids"]
        text = LatentText(f"event {number}", tuple(ids), f"event {number}")
        row, cost = trained(trainer, text)
        seconds.append(cost)
        form = trainer.form
        stored = form.unpacked(row["places"], row["kv"], row["rows"], len(ids), text.of)
        variants: dict[str, tuple[Page, ...]] = {
            "none": (),
            "text": (trainer.whole(text),),
            "untrained rows": (trainer.start(text),),
            "cartridge": (stored,),
            "another's cartridge before it": (stored if before is None else before, stored),
        }
        before = stored
        refused += not row["ok"]
        for name, parts in variants.items():
            losses.setdefault(name, []).append(answered(trainer, tokenizer, one, *parts))
        kept_rows.append(row["rows"])
        tokens.append(len(ids))
        means = ", ".join(f"{name} {part[-1].mean():.3f}" for name, part in losses.items())
        divergence = f"KL {row['kl']:.3f} of {row['kl_none']:.3f}"
        tell(f"question {number}, {len(ids)} tokens, {seconds[-1]:.0f} s, {divergence}: {means}")
    return _rows(len(questions), losses, seconds, kept_rows, tokens, refused, trainer)


def answered(trainer: CartridgeTrainer, tokenizer: Any, one: AskedEvent, *parts: Page) -> Losses:
    """Nats of each token of the answer, [n], behind the sink and ``parts``."""
    asking = tokenizer(f"\nQuestion: {one.question}\nAnswer:", add_special_tokens=False)["input_ids"]
    answer = tokenizer(f" {one.answer}", add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[*asking, *answer]])
    with torch.inference_mode():
        logs = trainer.reader.log_probs(ids, trainer.reader.standing(trainer.sink, *parts))[0, len(asking) - 1 :]
        values: Losses = -logs.gather(1, torch.tensor(answer)[:, None])[:, 0].double().numpy()
    return values


def _rows(
    all_questions: int,
    losses: dict[str, list[Losses]],
    seconds: list[float],
    kept_rows: list[int],
    tokens: list[int],
    refused: int,
    trainer: CartridgeTrainer,
) -> list[Row]:
    owner = np.repeat(np.arange(len(seconds)), [len(one) for one in losses["none"]])
    flat = {name: np.concatenate(parts) for name, parts in losses.items()}
    few = f"{len(seconds)} of {all_questions} questions, {len(owner)} tokens"
    rows = []
    for name, loss in flat.items():
        sums, draws = document_sums(owner, 1000, 0, loss)
        drawn = draws @ sums
        one = interval(float(loss.mean()), drawn[:, 0] / drawn[:, 1])
        rows.append(
            Row("answers", f"{name}: nats a token, {few} (95 % {one.low:.3f} to {one.high:.3f})", one.value, "")
        )
    for name in ("untrained rows", "cartridge", "another's cartridge before it"):
        share = recovered(flat["none"], flat["text"], flat[name], owner)
        words = f"{name}: of the text's gain (95 % {100 * share.low:.0f} to {100 * share.high:.0f})"
        rows.append(Row("answers_kept", words, 100 * share.value, "%"))
    cell = float(np.mean([trainer.form.size(one) for one in kept_rows]))
    whole = float(np.mean([trainer.form.size(one) for one in tokens]))
    return [
        *rows,
        Row("cartridge_refused", f"lose more than their bound, of {len(seconds)}", float(refused), ""),
        Row("cartridge_bytes", f"one of {np.mean(tokens):.0f} tokens", cell / 1e6, "MB"),
        Row("cartridge_bytes", "all rows of its text, of the same type", whole / 1e6, "MB"),
        Row("cartridge_seconds", "of a processor, to train and measure one", float(np.mean(seconds)), "s"),
    ]
