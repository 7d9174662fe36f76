"""Generating with the index: what it costs as a memory, and what its drafts save.

The model continues documentation that the bank does not have, greedily, one text at a time. Every setting takes its
turn with each prompt, and ratios are of the same prompt, so that other work on the machine falls on all. Drafts are
measured alone, and with the suffix memory mixed in at a fixed weight, which then says more often what they propose. In
bfloat16 outputs may differ where the two largest logits are within rounding of each other, and nowhere else.
"""

from __future__ import annotations

import statistics
from typing import Any

import torch

from bench.report import Row, timed
from bench.suffix.corpus import Corpus
from bench.teacher.keys import MODEL
from mnemic import languagemodel
from mnemic.attach.host import Host

PROMPT = 64
WEIGHT = 0.3


def generating_rows(corpus: Corpus, quick: bool) -> list[Row]:
    model, tokenizer = languagemodel.load(MODEL, "bfloat16")
    prompts = [tokenizer(text, return_tensors="pt")["input_ids"][:, :PROMPT] for text in corpus.prompts]
    prompts, tokens = (prompts[:3], 32) if quick else (prompts[:12], 96)
    bank, memory = corpus.bank, {"suffix": WEIGHT}
    settings: dict[str, dict[str, Any] | None] = {
        "bare": None,
        "suffix": {"memory": memory},
        "draft": {"memory": {}, "draft": True},
        "suffix, draft": {"memory": memory, "draft": True},
    }
    seconds: dict[str, list[float]] = {name: [] for name in settings}
    outputs: dict[str, list[torch.Tensor]] = {name: [] for name in settings}
    drafted = accepted = 0
    for prompt in prompts:
        for name, options in settings.items():
            if options is None:
                outputs[name].append(_generated(model, prompt, tokens))
                seconds[name].append(timed(lambda prompt=prompt: _generated(model, prompt, tokens)))  # type: ignore[misc]
                continue
            with bank.attached(model, tokenizer=tokenizer, **options):
                outputs[name].append(_generated(model, prompt, tokens))
                seconds[name].append(timed(lambda prompt=prompt: _generated(model, prompt, tokens)))  # type: ignore[misc]
                if name == "draft":
                    drafted += Host.of(model).drafts.drafted
                    accepted += Host.of(model).drafts.accepted
    overhead = _ratio(seconds["suffix"], seconds["bare"])
    differing, unexplained = _differences(model, outputs["bare"], outputs["draft"])
    rate = len(prompts) * tokens / sum(seconds["bare"])
    about = f"{len(prompts)} prompts, {tokens} tokens each, bfloat16"
    return [
        Row("attach_overhead_suffix", f"attached over bare, {about}", overhead, "x", 1.1, 1.03, higher_is_better=False),
        Row("draft_speedup", f"with drafts, {about}", _ratio(seconds["bare"], seconds["draft"]), "x", None, 1.5),
        Row(
            "draft_speedup_suffix",
            f"with drafts and the memory at {WEIGHT}, over the memory alone",
            _ratio(seconds["suffix"], seconds["suffix, draft"]),
            "x",
        ),
        Row("draft_accepted", f"of {drafted:,} tokens drafted", accepted / max(drafted, 1), ""),
        Row("bare_rate", "the model alone", rate, "tokens/s"),
        Row("draft_differing", "outputs that differ in bfloat16", float(differing), ""),
        Row("draft_unexplained", "of them, not by rounding", float(unexplained), "", 0.0, 0.0, higher_is_better=False),
    ]


def _ratio(first: list[float], second: list[float]) -> float:
    """Median of the prompts' ratios."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def _generated(model: Any, prompt: torch.Tensor, tokens: int) -> torch.Tensor:
    length = {"min_new_tokens": tokens, "max_new_tokens": tokens}
    with torch.inference_mode():
        output: torch.Tensor = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, pad_token_id=0, **length
        )
    return output


def _differences(model: Any, first: list[torch.Tensor], second: list[torch.Tensor]) -> tuple[int, int]:
    """How many outputs differ, and how many of them where the two tokens' logits are not within rounding."""
    differing = unexplained = 0
    for one, other in zip(first, second, strict=True):
        if torch.equal(one, other):
            continue
        differing += 1
        place = int((one != other).nonzero()[0, 1])
        with torch.inference_mode():
            logits = model(input_ids=one[:, :place]).logits[0, -1].float()
        gap = float(abs(logits[one[0, place]] - logits[other[0, place]]))
        unexplained += gap > 8 * torch.finfo(torch.bfloat16).eps * float(logits.abs().max())
    return differing, unexplained
