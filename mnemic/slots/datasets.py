"""The dataset of slots, which has a row for each slot that training text fired."""

from __future__ import annotations

import pyarrow as pa


def slots(numbers: int, half: int = 1) -> pa.Schema:
    """Schema of `slots`: rows of a table beside layers of a language model, ``numbers`` each (`mnemic.slots`).

    They are float16 where ``half`` is 1, else float32. A slot that no training text fired has no row, and adds nothing.
    """
    return pa.schema(
        [
            pa.field("slot", pa.int64(), nullable=False),  # its place in the table
            pa.field("uses", pa.int64(), nullable=False),  # how often the training text fires it
            pa.field("sequences", pa.int64(), nullable=False),  # of the training text that fire it
            pa.field("value", pa.list_(pa.float16() if half else pa.float32(), numbers), nullable=False),
        ]
    )
