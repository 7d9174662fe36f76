"""The form of cartridges: keys before rotation and values of every layer, as the bytes of one cell.

A cell is [layers, 2, heads, rows, width] in its type, little-endian, keys first. Places are uint16 [layers, heads,
rows]: where in its text each row stood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mnemic.errors import ModelError
from mnemic.latents.datasets import STORED
from mnemic.memories.shapes import is_count
from mnemic.pages.page import Page

_NUMPY = {"bfloat16": "<i2", "float16": "<f2", "float32": "<f4"}


@dataclass(frozen=True)
class CartridgeForm:
    """``layers`` of a model with ``heads`` keys of ``width`` numbers each; ``type`` of the stored numbers."""

    layers: int
    heads: int
    width: int
    type: str

    @classmethod
    def of_config(cls, config: Mapping[str, Any], name: str) -> CartridgeForm:
        """From the config of the memory called ``name``. Raises `ModelError` for values that cannot be."""
        for one in ("layers", "heads", "width"):
            if not is_count(config.get(one)):
                raise _strange(name, one, config.get(one))
        if config.get("type") not in STORED:
            raise _strange(name, "type", config.get("type"))
        return cls(config["layers"], config["heads"], config["width"], config["type"])

    def config(self) -> dict[str, Any]:
        """As `of_config` reads it, of values of JSON."""
        return {"layers": self.layers, "heads": self.heads, "width": self.width, "type": self.type}

    def size(self, rows: int) -> int:
        """Bytes of a cell of so many ``rows``."""
        return 2 * self.layers * self.heads * rows * self.width * STORED[self.type]

    def packed(self, rows: Page) -> tuple[bytes, bytes]:
        """(places, keys and values) as bytes."""
        import torch

        both = torch.stack([rows.keys, rows.values], dim=1).detach().cpu().to(getattr(torch, self.type)).contiguous()
        plain = both.view(torch.int16) if self.type == "bfloat16" else both
        places = rows.stood().cpu().numpy().astype("<u2")
        return places.tobytes(), plain.numpy().tobytes()

    def unpacked(self, places: bytes, cell: bytes, rows: int, tokens: int, name: str) -> Page:
        """The rows of two cells, in their stored type. Raises `ModelError` where they are not of this form."""
        import torch

        shape = (self.layers, 2, self.heads, rows, self.width)
        count = self.layers * self.heads * rows
        if len(cell) != self.size(rows) or len(places) != 2 * count:
            raise ModelError(
                f"The cartridge of {name} has {len(cell):,} and {len(places):,} bytes where its memory says "
                f"{self.size(rows):,} and {2 * count:,}; bring the dataset cartridges back from a copy, or build it "
                "again."
            )
        both = torch.from_numpy(np.frombuffer(cell, _NUMPY[self.type]).reshape(shape).copy())
        both = both.view(torch.bfloat16) if self.type == "bfloat16" else both
        at = np.frombuffer(places, "<u2").reshape(self.layers, self.heads, rows).astype(np.int64)
        if not bool(torch.isfinite(both).all()) or (at.size and int(at.max()) >= tokens):
            raise ModelError(
                f"The cartridge of {name} has numbers that are none, or places behind its text; build it again."
            )
        return Page(both[:, 0], both[:, 1], tokens, torch.from_numpy(at))


def _strange(name: str, field: str, value: object) -> ModelError:
    return ModelError(
        f"The memory {name} says {field} {str(value)[:40]!r} of its cartridges, which cannot be; build the memory "
        "again."
    )
