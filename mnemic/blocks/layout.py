"""The form of blocks: which layers they widen, and a block as the bytes of one cell.

A cell is [layers, parts, rows, width] in its type, little-endian; parts are up, gate (in families that have one) and
down. For int8 the scales follow, float32 [layers, parts, rows]: a row is its integers times its scale. So a block is
one read, whatever its type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemic.errors import ModelError
from mnemic.memories.shapes import is_count

if TYPE_CHECKING:
    import torch

BYTES = {"bfloat16": 2, "float32": 4, "int8": 1}
"""Types of stored blocks -> bytes of a number."""

_LARGEST = 127.0

FALLBACK, CONTROL = "fallback", "control"
"""Blocks of no node: for texts that no node's block serves, and the one that fetched blocks are compared with."""

GENERIC = (FALLBACK, CONTROL)

SHARED = "shared"
"""The block that those of level 1, and the control, begin with; no text is read with it."""

NO_TOPICS = (*GENERIC, SHARED)
"""Jobs that train a block of no node."""

MODEL = "model"
"""The row with the change of the model's own matrices, where they learnt with the shared block; no block."""


@dataclass(frozen=True)
class BlockLayout:
    """``layers`` of the model that blocks widen, ascending from 0; ``width`` of a row; ``gated``: three parts, not two.

    ``rows`` are those of a block by its level, from level 1 on; ``generic`` those of a block of no node. ``inner`` is
    the inner width of the model's feed-forward layers where their own matrices are changed, 0 where they stay: the
    change has the form of a block of so many rows.
    """

    layers: tuple[int, ...]
    width: int
    gated: bool
    type: str
    rows: tuple[int, ...]
    generic: int
    inner: int = 0

    @classmethod
    def of_config(cls, config: Mapping[str, Any], name: str) -> BlockLayout:
        """From the config of the memory called ``name``. Raises `ModelError` for values that cannot be."""
        layers, rows = config.get("layers"), config.get("rows")
        faults = [
            not isinstance(layers, list) or not all(isinstance(one, int) and 0 <= one < 1 << 16 for one in layers),
            not isinstance(rows, list) or not all(one == 0 or is_count(one) for one in rows),
            not is_count(config.get("width")),
            not is_count(config.get("generic")),
            not isinstance(config.get("gated"), bool),
            config.get("type") not in BYTES,
            "inner" in config and not is_count(config["inner"]),
        ]
        names = ("layers", "rows", "width", "generic", "gated", "type", "inner")
        if not any(faults) and (not layers or sorted(set(layers)) != layers):
            faults[0] = True
        if any(faults):
            wrong = names[faults.index(True)]
            raise ModelError(
                f"The memory {name} says {wrong} {str(config.get(wrong))[:40]!r} of its blocks, which cannot be; build "
                "the memory again."
            )
        return cls(
            tuple(config["layers"]),
            config["width"],
            config["gated"],
            config["type"],
            tuple(config["rows"]),
            config["generic"],
            config.get("inner", 0),
        )

    @property
    def parts(self) -> int:
        return 3 if self.gated else 2

    def config(self) -> dict[str, Any]:
        """As `of_config` reads it, of values of JSON."""
        changed = {"inner": self.inner} if self.inner else {}
        return {
            "layers": list(self.layers),
            "width": self.width,
            "gated": self.gated,
            "type": self.type,
            "rows": list(self.rows),
            "generic": self.generic,
            **changed,
        }

    def rows_of(self, level: int) -> int:
        """Rows of a block at ``level``; level 0 is that of no node."""
        if level == 0:
            return self.generic
        return self.rows[level - 1] if level <= len(self.rows) else 0

    def numbers(self, rows: int) -> int:
        """Parameters of a block of so many ``rows``."""
        return len(self.layers) * self.parts * rows * self.width

    def size(self, rows: int) -> int:
        """Bytes of its cell."""
        scales = 4 * len(self.layers) * self.parts * rows if self.type == "int8" else 0
        return self.numbers(rows) * BYTES[self.type] + scales

    def packed(self, block: torch.Tensor) -> bytes:
        """The cell of ``block``, float32 [layers, parts, rows, width]."""
        import torch

        block = block.detach().float().cpu().contiguous()
        if self.type == "float32":
            return block.numpy().tobytes()
        if self.type == "bfloat16":
            return block.bfloat16().view(torch.int16).numpy().tobytes()
        scale = block.abs().amax(-1) / _LARGEST
        whole = (block / scale.clamp(min=torch.finfo(torch.float32).tiny)[..., None]).round()
        return whole.to(torch.int8).numpy().tobytes() + scale.numpy().tobytes()

    def unpacked(self, cell: bytes, rows: int, place: str) -> torch.Tensor:
        """The block of a cell, [layers, parts, rows, width]: float32, or bfloat16 of cells of that type.

        ``place`` names it in an error. Raises `ModelError` where the cell has not this size, or a number is none.
        """
        import torch

        if len(cell) != self.size(rows):
            raise ModelError(
                f"The block {place} has {len(cell):,} bytes where its config says {self.size(rows):,}; bring the "
                "dataset blocks back from a copy, or build the memory again."
            )
        shape, numbers = (len(self.layers), self.parts, rows, self.width), self.numbers(rows)
        if self.type == "float32":
            block = torch.from_numpy(np.frombuffer(cell, "<f4").reshape(shape).copy())
        elif self.type == "bfloat16":
            block = torch.from_numpy(np.frombuffer(cell, "<i2").reshape(shape).copy()).view(torch.bfloat16)
        else:
            whole = torch.from_numpy(np.frombuffer(cell, np.int8, numbers).reshape(shape).copy())
            scale = torch.from_numpy(np.frombuffer(cell, "<f4", offset=numbers).reshape(shape[:3]).copy())
            block = whole.float() * scale[..., None]
        if not bool(torch.isfinite(block).all()):
            raise ModelError(f"The block {place} has numbers that are none; build the memory again.")
        return block


def level_of(path: str) -> int:
    """The level of a node: 1 for "3", 2 for "3.11", 0 for the root and for rows of no node."""
    return path.count(".") + 1 if path and path not in (*GENERIC, MODEL) else 0


def above(path: str) -> tuple[str, ...]:
    """The nodes on the way to ``path`` below the root, itself the last: "3", "3.11"."""
    parts = path.split(".") if path else []
    return tuple(".".join(parts[: level + 1]) for level in range(len(parts)))
