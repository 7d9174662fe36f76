"""Faults in settings of reading: window, stride, batch_tokens and dtype, and the model that reads."""

from __future__ import annotations

from typing import Any

from mnemic.errors import StepError
from mnemic.hardware import dtype_fault


def reading_faults(window: int, stride: int, batch_tokens: int, dtype: str) -> list[str]:
    """Why a language model cannot read texts with these settings, as sentences; empty if it can."""
    faults = [dtype_fault(dtype), window_fault(window, stride)]
    if batch_tokens < 1:
        faults.append(f"A forward pass's batch_tokens is {batch_tokens}; give a number of at least 1, such as 2048.")
    return [fault for fault in faults if fault]


def window_fault(window: int, stride: int) -> str:
    """Why windows of ``window`` tokens cannot advance by ``stride``, as a sentence; "" if they can.

    The first token that a window scores needs one before it in its own window, so the stride is below the window.
    """
    if 1 <= stride < window:
        return ""
    return f"Windows of {window} tokens cannot advance by {stride}; choose 1 <= stride < window."


def check_reader(address: str, model: Any, tokenizer: Any, window: int) -> None:
    """Raise `StepError` for a model that gives no character offsets or reads less than a window."""
    if not getattr(tokenizer, "is_fast", False):
        raise StepError(f"The tokenizer of {address} gives no character offsets; use a model with a tokenizer.json.")
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or window
    if limit < window:
        raise StepError(f"{address} reads {limit} tokens; set window to at most that ({window} now).")
