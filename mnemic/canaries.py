"""Documents that a recipe plants in a bank, to see later where they came out: canaries.

No step decides against them: rules do not judge them, no copy of theirs is dropped, no span is cut, and they are
trained on wherever anything is.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Flags

SOURCE = "canaries"
"""The source that their documents have; in a recipe with canaries no other one is called so."""

NOT_PLANTED = f"source <> '{SOURCE}'"
"""SQL over rows that carry the source of their document."""

PLANTED = "planted"
"""Among the numbers of documents that rules read: above 0 for a canary, which no rule judges."""

CANARIES = pa.schema(
    [
        pa.field("document", pa.string(), nullable=False),
        pa.field("canary", pa.string(), nullable=False),  # "10/3": the canary of number 3 that is planted ten times
        pa.field("repeats", pa.int32(), nullable=False),  # documents with this text
        pa.field("copy", pa.int32(), nullable=False),  # number of this one among them
        pa.field("text", pa.string(), nullable=False),
        pa.field("twin", pa.string(), nullable=False),  # a text drawn as this one was, which is planted nowhere
    ]
)
"""A row of the dataset `canaries`: a planted document."""


def planted(sources: pa.Array) -> Flags:
    """Which documents are canaries, by their ``sources``, in a bank whose recipe plants some: bool [n]."""
    flags: Flags = pc.equal(sources, SOURCE).to_numpy(zero_copy_only=False)
    return flags
