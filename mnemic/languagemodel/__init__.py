"""Frozen causal language models: load one, say what it is, read text with it, and tap its feed-forward layers.

Importing this loads neither torch nor transformers: planning describes models without them. `windows` and `head`, how
texts are read and scored, are imported from their own modules.
"""

from mnemic.languagemodel.describe import ModelDescription, describe
from mnemic.languagemodel.function import difference
from mnemic.languagemodel.load import config, load, shared, tokenizer, tokenizer_of
from mnemic.languagemodel.lock import lock, tokenizer_hash
from mnemic.languagemodel.taps import (
    Taps,
    blocks,
    capture,
    final_norm,
    output_embedding,
    softcap,
    student_layer,
    tap,
)

__all__ = [
    "ModelDescription",
    "Taps",
    "blocks",
    "capture",
    "config",
    "describe",
    "difference",
    "final_norm",
    "load",
    "lock",
    "output_embedding",
    "shared",
    "softcap",
    "student_layer",
    "tap",
    "tokenizer",
    "tokenizer_hash",
    "tokenizer_of",
]
