"""Held-out rows of a datastore: tokens that memories are asked about, to weigh them and to measure them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.edits import readable
from mnemic.splits import VALIDATION
from mnemic.view import View

_COLUMNS = ("document", "position", "token", "base_logprob", "input", "teacher_label")


@dataclass(frozen=True)
class HeldOutRows:
    """Rows of the datastore of ``view`` in (document, position) order.

    ``table`` has document, position, token, base_logprob (the model's log p of the token), input (what an MLP memory
    reads: float16 [d]), and teacher_label (the retriever's p of the token) where the datastore has been searched.
    """

    view: View
    table: pa.Table

    @classmethod
    def read(cls, view: View, where: str = VALIDATION, columns: Sequence[str] = _COLUMNS) -> HeldOutRows:
        """The rows that satisfy ``where``, by default those that weights are chosen on."""
        datastore = view.dataset("datastore")
        names = [name for name in dict.fromkeys(("document", "position", *columns)) if name in datastore.schema.names]
        table = datastore.table(names, where)
        return cls(view, table.sort_by([("document", "ascending"), ("position", "ascending")]))

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
    def documents(self) -> pa.Table:
        """id and text of the documents that the rows are of, by id."""
        ids = ", ".join(f"'{one}'" for one in sorted(set(self.table["document"].to_pylist())))
        edits = ["edits"] if "edits" in self.view.dataset("documents").schema.names else []
        return readable(self.view.table("documents", ["id", "text", *edits], f"id IN ({ids})" if ids else "false"))

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of the language model that the recipe names. Raises `ModelError` where it is not here."""
        from mnemic import languagemodel

        return languagemodel.tokenizer(self.view.release.recipe["language_model"])
