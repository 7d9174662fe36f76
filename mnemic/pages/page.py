"""A page: keys and values of a piece of text, as a row of the dataset `pages` holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemic.attach.cache import Prefix
from mnemic.errors import BankError
from mnemic.facts import ADVICE
from mnemic.ids import hash_bytes
from mnemic.pages.blob import PageForm
from mnemic.terminal import one_line

if TYPE_CHECKING:
    import torch

COLUMNS = (
    "id",
    "event",
    "part",
    "behind",
    "tokens",
    "rows",
    "layers",
    "heads",
    "width",
    "bits",
    "numbers",
    "places",
    "kv",
    "check",
)
"""Columns of `pages` that a page is made of."""


@dataclass(frozen=True, eq=False)
class Page:
    """Keys (before rotation) and values, each [layers, heads, rows, width], of a text of ``tokens`` tokens.

    ``places`` int64 [layers, heads, rows] are those of its rows in the text, None: every token has one.
    """

    keys: torch.Tensor
    values: torch.Tensor
    tokens: int
    places: torch.Tensor | None = None

    @classmethod
    def of(cls, prefix: Prefix) -> Page:
        """All that a model has of a text, whose ``prefix`` has one row and no mask."""
        import torch

        keys, values = (torch.cat(list(part)) for part in (prefix.keys, prefix.values))
        return cls(keys, values, keys.shape[2])

    @property
    def rows(self) -> int:
        return int(self.keys.shape[2])

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(layers, heads, width)."""
        layers, heads, _, width = self.keys.shape
        return layers, heads, width

    def stood(self) -> torch.Tensor:
        """Places of its rows in the text, int64 [layers, heads, rows]."""
        import torch

        return torch.arange(self.rows).expand(self.keys.shape[:3]) if self.places is None else self.places

    def to(self, device: torch.device) -> Page:
        """The same with keys and values on ``device``."""
        return Page(self.keys.to(device), self.values.to(device), self.tokens, self.places)

    def prefix(self) -> Prefix:
        """The page as what stands first in a cache."""
        import torch

        places = None if self.places is None else self.places[:, None]
        length = torch.tensor([self.tokens])
        return Prefix(self.keys[:, None].unbind(0), self.values[:, None].unbind(0), None, places, length)


def check_of(stood: bytes | None, blob: bytes) -> str:
    """The hash of a page's bytes."""
    return hash_bytes((stood or b"") + blob)


def page_of(row: Mapping[str, Any], shape: tuple[int, int, int] | None = None) -> Page:
    """The page in a ``row`` with `COLUMNS`; ``shape`` is (layers, heads, width) of the model, None: any.

    Raises `BankError` for a row that is none, whose bytes have changed, or that is of another model.
    """
    place = f"The page {one_line(str(row['id']), 40)} of the bank"
    form = PageForm(row["layers"], row["heads"], row["width"], row["rows"], row["bits"], row["numbers"])
    if shape is not None and (form.layers, form.heads, form.width) != shape:
        raise BankError(
            f"{place} has {form.layers} layers with {form.heads} heads of {form.width} numbers, and the model has "
            f"{shape[0]} with {shape[1]} of {shape[2]}; attach it to the model that it was made for."
        )
    stood, blob, tokens = row["places"], bytes(row["kv"]), row["tokens"]
    stood = None if stood is None else bytes(stood)
    if check_of(stood, blob) != row["check"]:
        raise BankError(f"{place} has other bytes than were written. {ADVICE}")
    if not form.rows <= tokens < 1 << 16 or (stood is None and form.rows != tokens):
        raise BankError(f"{place} has {form.rows} rows of {tokens} tokens. {ADVICE}")
    keys, values = form.unpacked(blob)
    return Page(keys, values, tokens, None if stood is None else _places(stood, form, tokens, place))


def _places(stood: bytes, form: PageForm, tokens: int, place: str) -> torch.Tensor:
    import torch

    shape = (form.layers, form.heads, form.rows)
    if len(stood) != 2 * form.layers * form.heads * form.rows:
        raise BankError(f"{place} does not say where its rows stand. {ADVICE}")
    places = np.frombuffer(stood, "<u2").reshape(shape).astype(np.int64)
    if (np.diff(places, axis=2) <= 0).any() or places[..., -1].max() >= tokens:
        raise BankError(f"{place} has rows that stand in no order, or behind its end. {ADVICE}")
    return torch.from_numpy(places)
