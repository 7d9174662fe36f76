"""The form that a memory's bytes say they have, checked by their header before anything is made of it.

A config of a few bytes could ask for terabytes. So each value must be one that its field allows, and the shapes that
the config implies must be those of the tensors: nothing is allocated that the bytes do not hold already.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from mnemic.errors import ModelError

ConfigT = TypeVar("ConfigT")
Shapes = dict[str, tuple[int, ...]]

_FLOATS = ("F64", "F32", "F16", "BF16")
_LARGEST = 1 << 40  # of one dimension; a product of several stays a number that Python compares in no time


def checked_config(kind: type[ConfigT], values: Any, tensors: int) -> ConfigT:
    """``values`` as a config of this dataclass. Raises `ModelError` where one is missing, unknown or impossible.

    ``tensors`` is how many there are: a memory has no more blocks than that.
    """
    if not isinstance(values, Mapping):
        raise _damaged("its config is no mapping")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields), key=str)
    missing = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in values]
    if unknown or missing:
        raise _damaged(
            f"its config has no {missing[0]}" if missing else f"its config has an unknown {unknown[0]!r:.40}"
        )
    for name, value in values.items():
        if not _allowed(str(fields[name].type), value) or (name == "blocks" and value > tensors):
            raise _damaged(f"its config says {name} {value!r:.40}")
    return kind(**values)


def check_shapes(data: bytes, shapes: Callable[[], Shapes], whole: Collection[str] = ("tokens",)) -> None:
    """Compare the tensors in a safetensors header with the ``shapes`` that they must have.

    Those named in ``whole`` are int64, the others of a float type. Raises `ModelError` for the first that is missing,
    superfluous, or of another shape or type.
    """
    header = tensors_of(data)
    expected = shapes()
    for name in sorted(header.keys() ^ expected.keys()):
        raise _damaged(f"the tensor {name[:60]!r} is {'missing' if name in expected else 'not one of this memory'}")
    for name, shape in expected.items():
        own = header[name]
        if not isinstance(own, Mapping) or own.get("shape") != list(shape):
            raise _damaged(f"{name} does not have the shape {list(shape)} that its config says")
        if own.get("dtype") not in (("I64",) if name in whole else _FLOATS):
            raise _damaged(f"{name} is of type {str(own.get('dtype'))[:20]}")


def tensors_of(data: bytes) -> dict[str, Any]:
    """The entries of a safetensors header without its metadata."""
    header: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return {name: entry for name, entry in header.items() if name != "__metadata__"}


def _damaged(fault: str) -> ModelError:
    return ModelError(f"The weights of this memory are damaged ({fault}); build the memory again.")


def _allowed(kind: str, value: Any) -> bool:
    """Whether a field of this declared type can have the value."""
    if value is None:
        return kind.endswith("| None")
    if kind.startswith("int"):
        return is_count(value)
    if kind.startswith("float"):
        return is_positive(value)
    if kind.startswith("str"):
        return isinstance(value, str)
    return isinstance(value, dict) and all(isinstance(name, str) and _plain(one) for name, one in value.items())


def is_count(value: Any) -> bool:
    """Whether ``value`` is a whole number from 1 on that a dimension can have."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST


def is_positive(value: Any) -> bool:
    """Whether ``value`` is a finite number above 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _plain(value: Any) -> bool:
    """A name, a truth value, a positive number, or several of these numbers."""
    return isinstance(value, str | bool) or (
        all(is_positive(one) for one in value) if isinstance(value, list) else is_positive(value)
    )
