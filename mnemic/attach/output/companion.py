"""Layers of a decoder's keys and values among the layers of the model's cache.

Every change that `generate` or a caller makes to the cache (reorder beams, crop a draft, copy it, pickle it) happens to
them too.
"""

from __future__ import annotations

from typing import Any

from transformers.cache_utils import DynamicLayer


class CompanionLayer(DynamicLayer):  # type: ignore[misc]
    """A layer of the memory that ``owner`` names."""

    supports_early_init = False

    def __init__(self, owner: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.owner = owner
