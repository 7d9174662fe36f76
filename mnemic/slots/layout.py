"""The form of a table of slots, and of the layers that read it.

Three layouts share one table. "product-keys": a slot is a vector, found by two sub-keys, and a gate reads the layer's
input (Memory+, arXiv 2412.09764). "experts": a slot is one hidden unit with its rows up and down (PEER, arXiv
2407.04153). "ngrams": a slot is a part of a vector, found by a hash of the last tokens (Engram, arXiv 2601.07372).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa

from mnemic.errors import ModelError
from mnemic.memories.shapes import Shapes, is_count
from mnemic.slots.datasets import slots

PRODUCT_KEYS, EXPERTS, NGRAMS = "product-keys", "experts", "ngrams"
LAYOUTS = (PRODUCT_KEYS, EXPERTS, NGRAMS)

BYTES = {"float16": 2, "float32": 4}
"""Types of stored values -> bytes of a number."""

_LARGEST_LAYER = 1 << 16
_LARGEST_ORDER = 16


@dataclass(frozen=True)
class SlotLayout:
    """``layers`` of a model of ``width`` read a table of ``slots`` rows of ``value`` numbers, stored as ``type``.

    Each of ``heads`` fires ``top`` slots, which it finds by queries of ``key`` numbers a half. Of "ngrams" a head fires
    one slot for each of ``orders``, the lengths of the n-grams, and ``vocabulary`` counts the model's tokens; elsewhere
    these are empty and 0.
    """

    layout: str
    layers: tuple[int, ...]
    width: int
    slots: int
    value: int
    type: str
    heads: int
    top: int
    key: int
    orders: tuple[int, ...] = ()
    vocabulary: int = 0

    @classmethod
    def of_config(cls, config: Mapping[str, Any], name: str) -> SlotLayout:
        """From the config of the memory called ``name``. Raises `ModelError` for values that cannot be."""
        hashed = config.get("layout") == NGRAMS
        layers, orders, slots = config.get("layers"), config.get("orders"), config.get("slots")
        rules = {
            "layout": config.get("layout") in LAYOUTS,
            "layers": _ascending(layers, 0, _LARGEST_LAYER),
            "width": is_count(config.get("width")),
            "slots": is_count(slots),
            "value": is_count(config.get("value")) and (hashed or config.get("value") == config.get("width")),
            "type": config.get("type") in BYTES,
            "heads": is_count(config.get("heads")),
            "top": is_count(config.get("top")),
            "key": is_count(config.get("key")) if not hashed else config.get("key") == 0,
            "orders": _ascending(orders, 1, _LARGEST_ORDER) if hashed else orders == [],
            "vocabulary": is_count(config.get("vocabulary")) if hashed else config.get("vocabulary") == 0,
        }
        wrong = next((rule for rule, holds in rules.items() if not holds), None)
        if wrong is None and not _enough(config):
            wrong = "slots"
        if wrong is not None:
            raise ModelError(
                f"The memory {name} says {wrong} {str(config.get(wrong))[:40]!r} of its slots, which cannot be; build "
                "the memory again."
            )
        own = {field.name: config[field.name] for field in fields(cls)}
        return cls(**{**own, "layers": tuple(own["layers"]), "orders": tuple(own["orders"])})

    def config(self) -> dict[str, Any]:
        """As `of_config` reads it, of values of JSON."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}

    @property
    def hashed(self) -> bool:
        """Whether the text alone says which slots fire."""
        return self.layout == NGRAMS

    @property
    def longest(self) -> int:
        """Tokens that an address is made of; 0 where hidden states say it."""
        return max(self.orders, default=0)

    @property
    def parts(self) -> int:
        """Vectors of a slot."""
        return 2 if self.layout == EXPERTS else 1

    @property
    def side(self) -> int:
        """Sub-keys of a half: a slot is a pair of them."""
        return math.isqrt(self.slots)

    @property
    def fired(self) -> int:
        """Slots that a layer reads for one position."""
        return self.heads * (len(self.orders) if self.hashed else self.top)

    @property
    def numbers(self) -> int:
        """Of a slot."""
        return self.parts * self.value

    @property
    def size(self) -> int:
        """Bytes of a stored slot."""
        return self.numbers * BYTES[self.type]

    @property
    def schema(self) -> pa.Schema:
        """Of the dataset `slots`."""
        return slots(self.numbers, int(self.type == "float16"))

    @property
    def fetched(self) -> int:
        """Numbers that one position reads of the table, in all layers."""
        return len(self.layers) * self.fired * self.numbers

    def shapes(self) -> Shapes:
        """Name and shape of each tensor beside the table."""
        shapes: Shapes = {"canonical": (self.vocabulary,)} if self.hashed else {}
        for number in range(len(self.layers)):
            shapes |= {f"finders.{number}.{name}": shape for name, shape in self._of_layer().items()}
        return shapes

    def _of_layer(self) -> Shapes:
        if self.hashed:
            read = self.fired * self.value
            return {"key.weight": (self.width, read), "value.weight": (self.width, read)}
        shapes: Shapes = {
            "query.weight": (self.heads * 2 * self.key, self.width),
            "keys": (self.heads, 2, self.side, self.key),
        }
        if self.layout == PRODUCT_KEYS:
            shapes |= {"gate.weight": (self.value, self.width), "out.weight": (self.width, self.value)}
        return shapes


def _enough(config: Mapping[str, Any]) -> bool:
    """Whether the table has the slots that its layout needs."""
    slots = config["slots"]
    if config["layout"] == NGRAMS:
        return bool(slots // (config["heads"] * len(config["orders"])) >= 2)
    side = math.isqrt(slots)
    return bool(side * side == slots and config["top"] <= slots)


def _ascending(numbers: Any, least: int, below: int) -> bool:
    """Whether ``numbers`` is a list of different whole numbers in order, at least one."""
    whole = isinstance(numbers, list) and all(type(one) is int and least <= one < below for one in numbers)
    return bool(whole and numbers and sorted(set(numbers)) == numbers)
