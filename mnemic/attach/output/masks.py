"""The positions that are text, by an attention mask that was prepared for the model's layers.

`generate` prepares the masks for a cache of fixed size: by kind of layer, each [batch, 1, positions, keys], with the
causal order and the model's window in them. A memory that reads the text beside the model has other layers, and needs
the padding alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mnemic.errors import ModelError

if TYPE_CHECKING:
    import torch

_FULL = "full_attention"


def padding_mask(mask: Any, past: int, read: int, window: int | None) -> torch.Tensor | None:
    """1 where a row has text, int64 [batch, past + read]; None where it has it everywhere.

    ``mask`` is of [batch, positions] or prepared, ``past`` the positions in the cache and ``read`` those that are read
    now; ``window`` is that of the model's sliding layers. Raises `ModelError` where a prepared mask says something else
    than padding, such as several texts in one row.
    """
    parts = list(mask.values()) if isinstance(mask, Mapping) else [mask]
    if any(part is None for part in parts):
        return None  # which a model leaves out where nothing is padded
    if isinstance(mask, Mapping) and _FULL in mask:
        parts = [mask[_FULL]]
    for part in parts:
        if getattr(part, "dim", lambda: 0)() == 2:
            return part  # type: ignore[no-any-return]
        if getattr(part, "dim", lambda: 0)() == 4:
            for reach in (None, window):
                padding = _padding(part, past, read, reach)
                if padding is not None:
                    return padding
    raise ModelError(
        "A memory that reads the text needs an attention mask of [batch, positions], or one prepared from it whose "
        "rows are one text each, from its first position on; call the model with such a mask, or without."
    )


def _padding(prepared: torch.Tensor, past: int, read: int, window: int | None) -> torch.Tensor | None:
    """The padding in a mask [batch, 1, read, keys] of layers with this ``window``; None where that does not explain it.

    The last position sees every key that is text, and each position itself; of a window only the latter helps.
    """
    import torch

    end = past + read
    if prepared.shape[2] != read or prepared.shape[3] < end or (window is not None and past):
        return None
    allowed = (prepared if prepared.dtype == torch.bool else prepared >= 0)[:, 0, :, :end]
    text = allowed[:, -1] if window is None else allowed.diagonal(dim1=1, dim2=2)
    at = torch.arange(end, device=allowed.device)
    distance = at[past:, None] - at
    causal = distance >= 0 if window is None else (distance >= 0) & (distance < window)
    if not torch.equal(allowed, causal & text[:, None]):
        return None
    return text.long()
