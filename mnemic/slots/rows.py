"""The values of a release's slots: in memory, on the model's device, or in a mapped file.

Rows are held as they are stored, one array a part. A slot without a row reads the row of zeros behind the last, so a
table takes the room of its rows and not of its slots.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.errors import ModelError
from mnemic.slots.layout import SlotLayout
from mnemic.view import View, fitting

if TYPE_CHECKING:
    import torch

RowPlace = Literal["memory", "device", "mapped"]
PLACES: tuple[RowPlace, ...] = ("memory", "device", "mapped")

MAPPED_BYTES = 4 << 30
"""Tables that are larger are mapped where nobody says otherwise."""

_BATCH = 8192
_BEYOND = np.iinfo(np.int64).max  # the slot of the row of zeros


class SlotRows:
    """The rows of ``view`` in the form ``layout``, at ``place``: "memory", "device" (the model's) or "mapped".

    Raises `ModelError` where a row is not of this layout, stands twice, or has numbers that are none.
    """

    def __init__(self, view: View, layout: SlotLayout, place: RowPlace | None = None) -> None:
        self.layout = layout
        with fitting(view, "The slots"):
            dataset = view.dataset("slots")
            kind, expected = (schema.field("value").type for schema in (dataset.schema, layout.schema))
            if kind != expected:
                raise ModelError(
                    f"The slots of {view.path} are of type {kind} where their memory says {expected}; bring the "
                    "dataset slots back from a copy, or build the memory again."
                )
            count = dataset.count()
            self.place: RowPlace = place or ("mapped" if count * layout.size > MAPPED_BYTES else "memory")
            self.slots = np.full(count + 1, _BEYOND)
            self._file: Any = None
            if self.place == "mapped":
                self._file = tempfile.TemporaryFile(prefix="mnemic-slots-")  # noqa: SIM115 - the arrays map it
            self._parts = [self._room(count + 1, part) for part in range(layout.parts)]
            self._read(dataset.scan(["slot", "value"], batch_size=_BATCH), view.path)
        self._placed: tuple[Any, list[torch.Tensor]] | None = None  # device, parts

    def __len__(self) -> int:
        return len(self.slots) - 1

    def fetch(self, slots: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """See `mnemic.slots.finders.SlotTable`."""
        import torch

        different, places = torch.unique(slots, return_inverse=True)
        at = torch.from_numpy(self._places(different.cpu().numpy()))
        parts = self._of_device(slots.device) if self.place == "device" else self._tensors()
        rows = [part[at.to(part.device)].to(slots.device).float() for part in parts]
        return rows, places

    def _places(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each slot; that of zeros where it has none."""
        at = np.searchsorted(self.slots, slots)
        return np.where(self.slots[at] == slots, at, len(self))

    def _tensors(self) -> list[torch.Tensor]:
        import torch

        with torch.inference_mode(False):
            return [torch.from_numpy(part) for part in self._parts]

    def _of_device(self, device: Any) -> list[torch.Tensor]:
        if self._placed is None or self._placed[0] != device:
            self._placed = (device, [part.to(device) for part in self._tensors()])
        return self._placed[1]

    def _room(self, rows: int, part: int) -> NDArray[Any]:
        """An array [rows, value] for a part."""
        kind, shape = np.dtype(self.layout.type), (rows, self.layout.value)
        if self._file is None:
            return np.zeros(shape, kind)
        size = rows * self.layout.value * kind.itemsize
        self._file.truncate(size * self.layout.parts)
        return np.memmap(self._file, kind, "r+", part * size, shape)

    def _read(self, batches: Iterator[pa.RecordBatch], path: str) -> None:
        end, last = 0, -1
        for batch in batches:
            begin, end = end, end + len(batch)
            slots = batch["slot"].to_numpy()
            ordered = bool((np.diff(slots, prepend=last) > 0).all())
            if not ordered or (len(slots) and not 0 <= slots[0] <= slots[-1] < self.layout.slots):
                raise ModelError(
                    f"The slots of {path} do not ascend from 0 to {self.layout.slots - 1}; bring the dataset slots "
                    "back from a copy, or build the memory again."
                )
            last = int(slots[-1]) if len(slots) else last
            values = _values(batch["value"], self.layout)
            if not np.isfinite(values).all():
                raise ModelError(f"The slots of {path} have numbers that are none; build the memory again.")
            self.slots[begin:end] = slots
            for part, room in enumerate(self._parts):
                room[begin:end] = values[:, part]


def packed(values: torch.Tensor, layout: SlotLayout) -> pa.Array:
    """``values`` float32 [n, parts, value] as the column `value`.

    Raises `ModelError` for numbers that its type does not have.
    """
    plain = values.detach().cpu().numpy().astype(layout.type)
    if not np.isfinite(plain).all():
        raise ModelError(f"Slots have numbers that {layout.type} does not; store them as float32, or lower value_rate.")
    return pa.FixedSizeListArray.from_arrays(pa.array(plain.ravel()), layout.numbers)


def unpacked(column: pa.Array, layout: SlotLayout) -> torch.Tensor:
    """The column `value` as float32 [n, parts, value]."""
    import torch

    return torch.from_numpy(_values(column, layout).astype(np.float32))


def _values(column: pa.Array, layout: SlotLayout) -> NDArray[Any]:
    """[n, parts, value] of the column `value`."""
    flat: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), layout.parts, layout.value)
