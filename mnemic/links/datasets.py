"""The dataset that names and documents are linked by."""

from __future__ import annotations

import pyarrow as pa

EDGES = pa.schema(
    [
        pa.field("document", pa.string(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),  # as its document has it
        pa.field("ordinal", pa.int32(), nullable=False),  # of the unit
        pa.field("start", pa.int64(), nullable=False),  # character range in the document: text[start:end]
        pa.field("end", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # the rule: run, quotation, identifier
        pa.field("name", pa.string(), nullable=False),  # its words in small letters, with one space between them
        pa.field("entity", pa.string(), nullable=False),  # hash of tenant and name
    ]
)
"""An edge from a unit to an entity, the name of a tenant that it mentions."""
