"""What is wrong with settings of reading: window, stride, batch_tokens and dtype, and the model that reads."""

from __future__ import annotations

from typing import Any

from mnemic.errors import StepError
from mnemic.hardware import dtype_fault


def reading_faults(window: int, stride: int, batch_tokens: int, dtype: str) -> list[str]:
    """Why a language model cannot read texts with these settings, as sentences; empty if it can."""
    faults = [fault] if (fault := dtype_fault(dtype)) else []
    if not 1 <= stride < window:  # a token needs one before it in its own window
        faults.append(f"Windows of {window} tokens cannot advance by {stride}; choose 1 <= stride < window.")
    if batch_tokens < 1:
        faults.append(f"A forward pass cannot have batch_tokens {batch_tokens}; give at least 1, such as 2048.")
    return faults


def check_reader(address: str, model: Any, tokenizer: Any, window: int) -> None:
    """Raise `StepError` for a model that gives no character offsets or reads less than a window."""
    if not getattr(tokenizer, "is_fast", False):
        raise StepError(f"The tokenizer of {address} gives no character offsets; use a model with a tokenizer.json.")
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or window
    if limit < window:
        raise StepError(f"{address} reads {limit} tokens; set window to at most that ({window} now).")
