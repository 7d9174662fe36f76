"""The datasets of latents: a row is trained for one text, and names what the text was made of."""

from __future__ import annotations

import pyarrow as pa

from mnemic.schema import LEVELS

DOCUMENT, NODE = "document", "node"

LATENT_LEVELS = (DOCUMENT, *LEVELS, NODE)
"""Texts that may have a latent: documents, events of a level, and nodes of the cluster tree."""

STORED = {"bfloat16": 2, "float16": 2, "float32": 4}
"""Types of stored keys and values -> bytes of a number."""

LONGEST = 1 << 16
"""Tokens of a text: places have two bytes."""

_AS_IT_IS = {"lance-encoding:compression": "none", "lance-encoding:structural-encoding": "fullzip"}

_OF_A_TEXT = (
    pa.field("of", pa.string(), nullable=False),  # id of the document or event, or path of the node
    pa.field("level", pa.string(), nullable=False),  # document, session, event, turn, passage, node
    pa.field("documents", pa.list_(pa.string()), nullable=False),  # ids of those that the text was made of
    pa.field("events", pa.list_(pa.string()), nullable=False),  # ids of those that the text was made of
    pa.field("text", pa.string(), nullable=False),  # hash of the text
    pa.field("tokens", pa.int32(), nullable=False),  # of the text
    pa.field("steps", pa.int64(), nullable=False),  # of the optimiser
)

CARTRIDGES = pa.schema(
    [
        *_OF_A_TEXT,
        pa.field("rows", pa.int32(), nullable=False),  # keys of each layer and head
        pa.field("start", pa.string(), nullable=False),  # "picked", "first" or "page": what it was trained from
        pa.field("loss_none", pa.float32(), nullable=False),  # nats a held-out token of the model alone
        pa.field("loss_text", pa.float32(), nullable=False),  # of the model that has the text in its cache
        pa.field("loss", pa.float32(), nullable=False),  # of the model that has the cartridge
        pa.field("kl_none", pa.float32(), nullable=False),  # KL from the model that has the text, nats a token: alone
        pa.field("kl_start", pa.float32(), nullable=False),  # with the rows before training
        pa.field("kl", pa.float32(), nullable=False),  # with the cartridge
        pa.field("ok", pa.bool_(), nullable=False),  # false: it loses more than its bound, and is never attached
        pa.field("metrics", pa.string(), nullable=False),  # JSON: of its training and of its gate
        pa.field("state", pa.string(), nullable=False),  # hash of settings, model and text that it holds for
        pa.field("places", pa.large_binary(), nullable=False),  # uint16 [layers, heads, rows], little-endian
        pa.field("kv", pa.large_binary(), nullable=False, metadata=_AS_IT_IS),  # `mnemic.latents.form`
        pa.field("check", pa.string(), nullable=False),  # hash of places and kv
    ]
)
"""One row is the trained prefix of one text."""

FROM_PAGES = pa.field("pages", pa.list_(pa.string()), nullable=False)
"""Of `cartridges` in banks where they start from pages: ids of those that it started from, in the order of the text."""

MEMORY_TOKENS = pa.schema(
    [
        *_OF_A_TEXT,
        pa.field("vectors", pa.int32(), nullable=False),  # input embeddings that rebuild it
        pa.field("right", pa.int32(), nullable=False),  # tokens that greedy decoding gave back before the first wrong
        pa.field("exact", pa.bool_(), nullable=False),  # all were; false: the text is never rebuilt from it
        pa.field("dtypes", pa.list_(pa.string()), nullable=False),  # of the model, in which that was checked
        pa.field("ids", pa.string(), nullable=False),  # hash of the text's token ids
        pa.field("metrics", pa.string(), nullable=False),  # JSON: of its training
        pa.field("state", pa.string(), nullable=False),  # hash of settings, model and text that it holds for
        pa.field("embedding", pa.large_binary(), nullable=False),  # float32 [vectors, hidden], little-endian
        pa.field("check", pa.string(), nullable=False),  # hash of embedding
    ]
)
"""One row is the vectors that rebuild one text."""
