"""The dataset of pages: a row for each piece of an event that a language model has read."""

from __future__ import annotations

import pyarrow as pa

PAGES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # hash of event, part, and all that decides the bytes
        pa.field("event", pa.string(), nullable=False),
        pa.field("document", pa.string(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("part", pa.int32(), nullable=False),  # of the event, from 0
        pa.field("behind", pa.string(), nullable=False),  # id of the page that it was read behind; "": the sink alone
        pa.field("ids", pa.list_(pa.int32()), nullable=False),  # tokens that were read
        pa.field("sink", pa.list_(pa.int32()), nullable=False),  # tokens that stand before every page
        pa.field("tokens", pa.int32(), nullable=False),  # positions that the page takes up
        pa.field("rows", pa.int32(), nullable=False),  # keys of each head; fewer than tokens in a sparse page
        pa.field("layers", pa.int32(), nullable=False),
        pa.field("heads", pa.int32(), nullable=False),  # of keys and values
        pa.field("width", pa.int32(), nullable=False),  # of a head
        pa.field("bits", pa.int8(), nullable=False),  # 4, 8, 16 or 32
        pa.field("numbers", pa.string(), nullable=False),  # type of 16 and 32 bits; "" where they are rounded
        pa.field("places", pa.large_binary()),  # uint16 [layers, heads, rows], of its rows in the text; null: all
        pa.field("kv", pa.large_binary(), nullable=False),  # `mnemic.pages.blob`
        pa.field("check", pa.string(), nullable=False),  # hash of places and kv
        pa.field("loss_none", pa.float32(), nullable=False),  # nats a token of the text that follows the event, behind
        pa.field("loss_text", pa.float32(), nullable=False),  # the sink, the event's text, and
        pa.field("loss_page", pa.float32(), nullable=False),  # its pages
        pa.field("passed", pa.bool_(), nullable=False),  # whether the pages lose no more than their bound
        pa.field("lock", pa.string(), nullable=False),  # `languagemodel.lock` of the model, as JSON
    ]
)

RETRIEVED = pa.schema([pa.field("event", pa.string(), nullable=False)])
"""An event that a prompt retrieved; written by whoever attaches pages, and read by the next build."""
