"""The blocks of a release: coarse ones stay in memory, deep ones are read when they are needed.

One block is one cell of the dataset `blocks`, and one contiguous read. Levels up to ``resident`` are kept once they
were read; of deeper ones those that were used last are kept, up to ``cache_bytes``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING

from mnemic.blocks.layout import GENERIC, MODEL, BlockLayout, level_of
from mnemic.errors import BankError, ModelError
from mnemic.terminal import one_line
from mnemic.view import View, fitting

if TYPE_CHECKING:
    import torch

RESIDENT = 1
"""Levels that stay in memory: those of level 1 are large, and a topic seldom leaves its own."""

CACHE_BYTES = 1 << 30


class BlockShelf:
    """The blocks of ``view`` in the form ``layout``, by path. Threads may share one."""

    def __init__(
        self, view: View, layout: BlockLayout, *, resident: int = RESIDENT, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self.view, self.layout, self.resident, self.cache_bytes = view, layout, resident, cache_bytes
        self._place = self._places()
        self._coarse: dict[str, torch.Tensor] = {}
        self._deep: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def _places(self) -> dict[str, tuple[int, int]]:
        """Path -> place in the dataset, and rows.

        Raises `ModelError` where a row is not of this layout, or the change of the model is missing.
        """
        layout, places = self.layout, dict[str, tuple[int, int]]()
        with fitting(self.view, "The blocks"):
            columns = ["path", "level", "rows", "layers", "width", "type"]
            rows = self.view.dataset("blocks").table(columns).to_pylist()
            for place, row in enumerate(rows):
                level = level_of(row["path"])
                form = (tuple(row["layers"]), row["width"], row["type"], row["rows"], row["level"])
                size = layout.inner if row["path"] == MODEL else layout.rows_of(level)
                if form != (layout.layers, layout.width, layout.type, size, level):
                    raise ModelError(
                        f"The block {one_line(row['path'], 40)!r} of {self.view.path} is of another form than its "
                        "memory says; bring the dataset blocks back from a copy, or build the memory again."
                    )
                places[row["path"]] = (place, row["rows"])
        if layout.inner and MODEL not in places:
            raise ModelError(
                f"The blocks of {self.view.path} were trained beside changed layers, and the change is missing; bring "
                "the dataset blocks back from a copy, or build the memory again."
            )
        return places

    def __contains__(self, path: object) -> bool:
        return path in self._place and path != MODEL

    @cached_property
    def change(self) -> torch.Tensor | None:
        """The change of the model's own matrices, [layers, parts, inner, width]; None where they stay."""
        return self._read(MODEL) if self.layout.inner else None

    @property
    def paths(self) -> list[str]:
        """Of all blocks, those of nodes first, coarse before deep."""
        return sorted(self._place.keys() - {MODEL}, key=lambda path: (path in GENERIC, level_of(path), path))

    def rows(self, path: str) -> int:
        """Rows of the block ``path``."""
        return self._place[path][1]

    def block(self, path: str) -> torch.Tensor:
        """The block ``path``, [layers, parts, rows, width]. Raises `BankError` where there is none."""
        with self._lock:
            block = self._coarse.get(path)
            if block is None and path in self._deep:
                self._deep.move_to_end(path)
                block = self._deep[path]
        return self._fetched(path) if block is None else block

    def _fetched(self, path: str) -> torch.Tensor:
        if path not in self:
            raise BankError(
                f"{self.view.path} has no block {one_line(path, 40)!r}: only nodes with enough text have one. Give one "
                f"of the {len(self.paths)} that there are, such as {', '.join(self.paths[:3])}."
            )
        block = self._read(path)
        with self._lock:
            if level_of(path) <= self.resident:
                self._coarse[path] = block
                return block
            self._deep[path] = block
            self._deep.move_to_end(path)
            used = sum(one.numel() * one.element_size() for one in self._deep.values())
            while len(self._deep) > 1 and used > self.cache_bytes:
                _, oldest = self._deep.popitem(last=False)
                used -= oldest.numel() * oldest.element_size()
        return block

    def _read(self, path: str) -> torch.Tensor:
        import torch

        place, rows = self._place[path]
        cell = self.view.dataset("blocks").take([place], ["weights"])["weights"][0].as_py()
        with torch.inference_mode(False):  # whoever fetches it first, a later pass may need gradients
            return self.layout.unpacked(cell, rows, one_line(path, 40))
