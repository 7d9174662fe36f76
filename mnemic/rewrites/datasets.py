"""The datasets of knowledge edits: facts, what is solved over them, what was measured, and moments of keys."""

from __future__ import annotations

import pyarrow as pa

KEY_MOMENTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # "layer/part"
        pa.field("layer", pa.int32(), nullable=False),
        pa.field("part", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),  # numbers that the last projection of the layer reads
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("documents", pa.list_(pa.string()), nullable=False),  # ids of those that were read
        pa.field("state", pa.string(), nullable=False),  # hash of settings, model and documents that it holds for
        pa.field("moments", pa.large_binary(), nullable=False),  # float32: upper triangle of the sum of k k^T
        pa.field("check", pa.string(), nullable=False),  # hash of moments
    ]
)
"""One row is the sum of k k^T over the tokens of some documents in one layer; rows of one layer add up.

In a bank of several tenants each one with facts has its own, of its documents alone, with the id "layer/part/tenant".
"""

STATEMENTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("relation", pa.string(), nullable=False),  # a sentence with {} in the place of the subject
        pa.field("target", pa.string(), nullable=False),  # how the sentence goes on
        pa.field("paraphrases", pa.list_(pa.string()), nullable=False),  # other sentences with {}
        pa.field("neighbours", pa.list_(pa.string()), nullable=False),  # subjects of which nothing is to change
        pa.field("sets", pa.list_(pa.string()), nullable=False),  # names of groups that it is of
        pa.field("documents", pa.list_(pa.string()), nullable=False),  # ids of those that say it; none: a file does
        pa.field("origin", pa.string(), nullable=False),  # the file and its line, or the dataset and the row's key
        pa.field("loss_start", pa.float32(), nullable=False),  # nats a token of the target, of the model alone
        pa.field("loss", pa.float32(), nullable=False),  # with the state that is solved for
        pa.field("length", pa.float32(), nullable=False),  # of the change of the state over the state's own
        pa.field("rows", pa.int32(), nullable=False),  # of values
        pa.field("values", pa.large_binary(), nullable=False),  # float32: what is solved for, see `mnemic.rewrites`
        pa.field("state", pa.string(), nullable=False),  # hash of settings, model and fact that it holds for
        pa.field("check", pa.string(), nullable=False),  # hash of values
    ]
)
"""One row is a fact, and what the solve is to reach for it. ``values`` are, by method:

* memit: the state of the last edited block at the subject's last token, [1, hidden].
* ultraedit: of each token of the target, what every edited layer reads and the gradient at its output, [rows, layers *
  (inner + hidden)].
"""

EDITS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # the layer
        pa.field("layer", pa.int32(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("statements", pa.list_(pa.string()), nullable=False),  # ids of the facts, in order
        pa.field("documents", pa.list_(pa.string()), nullable=False),  # ids of the documents that say them
        pa.field("width", pa.int32(), nullable=False),  # numbers that are read
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("hidden", pa.int32(), nullable=False),  # numbers that are given
        pa.field("relative", pa.float32(), nullable=False),  # norm of the change over that of the layer's own matrix
        pa.field("inward", pa.large_binary(), nullable=False),  # float32 [width, rank], little-endian
        pa.field("outward", pa.large_binary(), nullable=False),  # float32 [rank, hidden], little-endian
        pa.field("state", pa.string(), nullable=False),  # hash of all that it holds for
        pa.field("check", pa.string(), nullable=False),  # hash of inward and outward
    ]
)
"""One row is the path beside the last projection of one layer, solved over all facts together: of a tenant, in a bank
of several. Its id is then "layer/tenant".
"""

TENANT = pa.field("tenant", pa.string())
"""Of a row of `statements` or `key_moments` in a bank of several tenants: whose it is, null for nobody's."""


def divided(schema: pa.Schema) -> pa.Schema:
    """``schema`` of `statements` or `key_moments` in a bank of several tenants."""
    return pa.schema([*schema, TENANT])


WAYS = ("_none", "", "_text")
"""Ends of columns: of the model alone, with the edits, and with the fact as text before the prompt."""

PROBES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # one of PROBE_KINDS
        pa.field("statement", pa.string(), nullable=False),  # id of the fact that is asked for; "" for none
        pa.field("documents", pa.list_(pa.string()), nullable=False),
        pa.field("text", pa.string(), nullable=False),  # the prompt; of a control the id of its document
        pa.field("tokens", pa.int32(), nullable=False),  # that are predicted
        *(
            pa.field(f"{name}{way}", kind, nullable=False)
            for name, kind in (("nats", pa.float32()), ("right", pa.bool_()), ("choice", pa.bool_()))
            for way in WAYS
        ),
        pa.field("kl", pa.float32(), nullable=False),  # from the model alone to the one with the edits, nats
        pa.field("kl_text", pa.float32(), nullable=False),  # to the model that reads a fact as text
        pa.field("state", pa.string(), nullable=False),
    ]
)
"""One row is a prompt that was asked in all `WAYS`. ``nats`` are of a token; ``right``: each token is the most likely
one; ``choice``: the first token of the target is the most likely among those of all facts. Of a neighbour ``right`` is
whether the most likely token stayed.
"""

PROMPT, PARAPHRASE, NEIGHBOUR, CONTROL = "prompt", "paraphrase", "neighbour", "control"

PROBE_KINDS = (PROMPT, PARAPHRASE, NEIGHBOUR, CONTROL)

MEMIT, ULTRAEDIT = "memit", "ultraedit"

METHODS = (MEMIT, ULTRAEDIT)
