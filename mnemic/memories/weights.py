"""Weights as bytes: safetensors, with the format and the configuration as JSON in the metadata."""

from __future__ import annotations

import json
from typing import Any

from safetensors.torch import save
from torch import Tensor

from mnemic.errors import ModelError

_ENTRY = "mnemic"


def pack(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> bytes:
    """Safetensors bytes that are equal for equal content.

    All metadata is one JSON entry, because safetensors writes several entries in no fixed order.
    """
    data: bytes = save(tensors, metadata={_ENTRY: json.dumps(metadata, sort_keys=True)})
    return data


def unpack_metadata(data: bytes) -> dict[str, Any]:
    """The metadata that `pack` wrote, without reading a tensor."""
    try:
        length = int.from_bytes(data[:8], "little")
        return dict(json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_ENTRY]))
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ModelError("These bytes are not weights that mnemic wrote; build the memory again.") from error
