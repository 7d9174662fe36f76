"""Held-out rows of a datastore: tokens that memories are asked about, to weigh them and to measure them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.edits import readable_documents
from mnemic.quoting import one_of
from mnemic.splits import VALIDATION
from mnemic.view import View

_COLUMNS = ("document", "position", "token", "base_logprob", "input", "teacher_label", "base_max", "base_entropy")

_ORDER = [("document", "ascending"), ("position", "ascending")]


@dataclass(frozen=True)
class HeldOutRows:
    """Rows of the datastore of ``view`` in (document, position) order.

    ``table`` has document, position, token, base_logprob (the model's log p of the token), input (what an MLP memory
    reads: float16 [d]), teacher_label (the retriever's p of the token) where the datastore has been searched, and
    base_max and base_entropy (the model's confidence) where the bank has a gate. ``where`` is their condition.
    """

    view: View
    table: pa.Table
    where: str = VALIDATION

    @classmethod
    def read(cls, view: View, where: str = VALIDATION, columns: Sequence[str] = _COLUMNS) -> HeldOutRows:
        """The rows that satisfy ``where``, by default those that weights are chosen on."""
        datastore = view.dataset("datastore")
        names = [name for name in dict.fromkeys(("document", "position", *columns)) if name in datastore.schema.names]
        table = datastore.table(names, where)
        return cls(view, table.sort_by(_ORDER), where)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def token(self) -> NDArray[np.int64]:
        """The token of each row, [n]."""
        return self.table["token"].to_numpy().astype(np.int64)  # type: ignore[no-any-return]

    @property
    def base(self) -> NDArray[np.float64]:
        """The language model's log p of each row's token, [n]."""
        return self.table["base_logprob"].to_numpy().astype(np.float64)  # type: ignore[no-any-return]

    @property
    def confidence(self) -> NDArray[np.float64] | None:
        """The model's largest log-probability and its entropy, [n, 2]; None where the bank does not have them."""
        if not {"base_max", "base_entropy"} <= set(self.table.column_names):
            return None
        both = [self.table[name].to_numpy().astype(np.float64) for name in ("base_max", "base_entropy")]
        values: NDArray[np.float64] = np.stack(both, axis=1)
        return None if np.isnan(values).any() else values

    def ordered(self, table: pa.Table) -> pa.Table:
        """``table``, which has these rows' document and position in any order, in the order of the rows."""
        return table.sort_by(_ORDER)

    @property
    def documents(self) -> pa.Table:
        """id and text of the documents that the rows are of, by id."""
        ids = sorted(set(self.table["document"].to_pylist()))
        return readable_documents(self.view.dataset("documents"), one_of("id", ids))

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of the language model that the recipe names. Raises `ModelError` where it is not here."""
        from mnemic import languagemodel

        return languagemodel.tokenizer(self.view.release.recipe["language_model"])
