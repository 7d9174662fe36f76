"""The dataset of the inbox."""

from __future__ import annotations

import pyarrow as pa

from mnemic.schema import TIME

INBOX = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # of the row: the call's, and its number in the call
        pa.field("call", pa.string(), nullable=False),  # what was remembered at once is one document
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("turns", pa.bool_(), nullable=False),  # whether the rows are turns of a conversation
        pa.field("digest", pa.string(), nullable=False),  # hash of all that the caller stated
        pa.field("remembered", TIME, nullable=False),
        pa.field("rows", pa.int32(), nullable=False),  # of the call
        pa.field("size", pa.int64(), nullable=False),  # bytes of the text
        pa.field("speaker", pa.string(), nullable=False),
        pa.field("time", TIME),  # when it was said
        pa.field("text", pa.large_string(), nullable=False),  # "" where the row was forgotten
        pa.field("forgotten", pa.bool_(), nullable=False),  # the row stays, so that it is not taken for a lost one
    ]
)
"""What was remembered and taken over by a build; only in banks in which something was."""
