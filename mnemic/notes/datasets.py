"""The datasets of written memory: packs that a model is asked about, paid answers, notes, summaries, and excerpts.

They are there only in banks whose recipe has the section `written`, or `excerpts`. Everything in them names the
document that it is of, or the leaves or answers that it is made of, so a removal of the document takes it along; of a
paid answer the row with its cost stays, which names nothing.
"""

from __future__ import annotations

import pyarrow as pa

from mnemic.catalogue import DatasetSpec, IndexPlan, Parent
from mnemic.schema import TIME

PACKED = pa.struct(
    [
        pa.field("n", pa.int32(), nullable=False),  # the number by which an answer cites it
        pa.field("event", pa.string(), nullable=False),  # id of a leaf of events
        pa.field("start", pa.int64(), nullable=False),  # character range in the document
        pa.field("end", pa.int64(), nullable=False),
        pa.field("speaker", pa.string(), nullable=False),  # "" for none, or several
        pa.field("time", TIME),
        pa.field("text", pa.large_string(), nullable=False),
    ]
)
"""A leaf of events as a unit of a pack."""

PACKS = pa.schema(
    [
        pa.field("pack", pa.string(), nullable=False),  # hash of the ids below it
        pa.field("document", pa.string(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),  # estimate: a token for four characters
        pa.field("context", pa.list_(PACKED), nullable=False),  # leaves before it, to be read and not cited
        pa.field("units", pa.list_(PACKED), nullable=False),
    ]
)

COST, ANSWER = "cost", "answer"
"""Kinds of rows of `calls`. A paid answer is two rows of one commit: what it cost, and what was asked and answered."""

CALLS = pa.schema(
    [
        pa.field("call", pa.string(), nullable=False),  # hash of key, pack and part; of a cost row a hash of that
        pa.field("kind", pa.string(), nullable=False),  # COST or ANSWER
        pa.field("key", pa.string(), nullable=False),  # hash of all that was sent, with the model; "" in a cost row
        pa.field("asked", pa.string(), nullable=False),  # fingerprint of the step that asked
        pa.field("model", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),  # name and version
        pa.field("document", pa.string(), nullable=False),  # "" in a cost row, like the next columns
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("pack", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),  # "" is the whole pack, "01" the second half of its first half
        pa.field("attempt", pa.int32(), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),  # good, bad or cut
        pa.field("reason", pa.string(), nullable=False),  # of a verdict that is not good
        pa.field("units", pa.list_(PACKED), nullable=False),  # that were asked about
        pa.field("answer", pa.large_string(), nullable=False),
        pa.field("prompt_tokens", pa.int64(), nullable=False),  # 0 in an answer row, like the next three
        pa.field("answer_tokens", pa.int64(), nullable=False),
        pa.field("price", pa.float64(), nullable=False),  # by the recipe's prices when it was asked
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("counted", pa.bool_(), nullable=False),  # the server counted the tokens; else they are upper bounds
        pa.field("run", pa.string(), nullable=False),
    ]
)

SOURCE = pa.struct(
    [
        pa.field("event", pa.string(), nullable=False),  # id of a leaf of events
        pa.field("start", pa.int64(), nullable=False),  # character range in the document
        pa.field("end", pa.int64(), nullable=False),
    ]
)

NOTES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # hash of tenant, kind, text, sources and writer
        pa.field("call", pa.string(), nullable=False),  # the row of `calls` that it stands in
        pa.field("document", pa.string(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # fact, or attribute: it has a subject, a name and a value
        pa.field("text", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("attribute", pa.string(), nullable=False),  # "" for a fact, like the value
        pa.field("value", pa.string(), nullable=False),
        pa.field("functional", pa.bool_(), nullable=False),  # a subject has one value of this attribute at a time
        pa.field("sources", pa.list_(SOURCE), nullable=False),  # at least one
        pa.field("writer", pa.string(), nullable=False),  # identity of the model
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("said_at", TIME),  # latest time of its sources; null where none has one
        pa.field("valid_from", TIME),  # null where the note names no time
        pa.field("valid_to", TIME),  # only where the note says itself when it ended
        pa.field("precision", pa.string(), nullable=False),  # of valid_from: instant, day, month, year; "" for none
        pa.field("grounded", pa.float32(), nullable=False),  # share of its long words that stand in its sources
    ]
)

SUMMARIES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # hash of call and text
        pa.field("call", pa.string(), nullable=False),  # the row of `calls` that it stands in
        pa.field("document", pa.string(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("pack", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),  # of the pack, "" for the whole
        pa.field("start", pa.int64(), nullable=False),  # character range in the document that it sums up
        pa.field("end", pa.int64(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("sources", pa.list_(SOURCE), nullable=False),  # at least one
        pa.field("writer", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("grounded", pa.float32(), nullable=False),  # share of its long words that stand in its sources
    ]
)

EXCERPTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # hash of node and sources
        pa.field("node", pa.string(), nullable=False),  # id of the event or session
        pa.field("document", pa.string(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("level", pa.string(), nullable=False),  # of the node
        pa.field("text", pa.string(), nullable=False),  # its leaves that stand for the others, a line each
        pa.field("sources", pa.list_(SOURCE), nullable=False),
    ]
)

NODE_EXCERPTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # hash of path, tenant and events
        pa.field("path", pa.string(), nullable=False),  # of a node of `clusters`
        pa.field("level", pa.int32(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("events", pa.list_(pa.string()), nullable=False),  # the leaves that it is made of
    ]
)

NODE_CALLS = pa.schema(
    [
        *CALLS,
        pa.field("events", pa.list_(pa.string()), nullable=False),  # leaves of events among the texts that were shown
        pa.field("below", pa.list_(pa.string()), nullable=False),  # calls whose answers were shown, as texts of parts
    ]
)
"""Paid answers about nodes of the tree: those of `CALLS` without a document, and what they are made of instead."""

NODE_SUMMARIES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # hash of path, tenant, writer, text and events
        pa.field("path", pa.string(), nullable=False),  # of a node of `clusters`
        pa.field("level", pa.int32(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("children", pa.list_(pa.string()), nullable=False),  # nodes whose texts it is made of; none of a leaf
        pa.field("events", pa.list_(pa.string()), nullable=False),  # leaves that it cites, also through its children
        pa.field("calls", pa.list_(pa.string()), nullable=False),  # the rows of `node_calls` that it stands in
        pa.field("writer", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("grounded", pa.float32(), nullable=False),  # least share of its long words that stand in its sources
    ]
)

PACKS_SPEC = DatasetSpec(
    "packs", PACKS, key=("pack",), parents=(Parent("documents", "document", "delete"),), export=False
)

CALLS_SPEC = DatasetSpec(
    "calls",
    CALLS,
    key=("call",),
    parents=(Parent("documents", "document", "delete"),),
    digested=False,
    counted=f"kind = '{ANSWER}'",
    export=False,
)
"""Not digested: seconds and attempts are of a run. Its cost rows outlive what they paid for."""

NOTES_SPEC = DatasetSpec(
    "notes",
    NOTES,
    key=("id",),
    parents=(Parent("documents", "document", "delete"), Parent("calls", "call", "delete")),
    index=IndexPlan(scalars={"tenant": "BITMAP", "subject": "BTREE"}),
)

EXCERPTS_SPEC = DatasetSpec("excerpts", EXCERPTS, key=("id",), parents=(Parent("documents", "document", "delete"),))

NODE_EXCERPTS_SPEC = DatasetSpec(
    "node_excerpts",
    NODE_EXCERPTS,
    key=("id",),
    parents=(Parent("events", "events", "redo"), Parent("clusters", "path", "delete")),
    index=IndexPlan(vector="", scalars={"tenant": "BITMAP"}),
)

SUMMARIES_SPEC = DatasetSpec(
    "summaries",
    SUMMARIES,
    key=("id",),
    parents=(Parent("documents", "document", "delete"), Parent("calls", "call", "delete")),
)

NODE_CALLS_SPEC = DatasetSpec(
    "node_calls",
    NODE_CALLS,
    key=("call",),
    parents=(Parent("events", "events", "delete"), Parent("node_calls", "below", "delete")),
    digested=False,
    counted=f"kind = '{ANSWER}'",
    export=False,
)
"""As `CALLS_SPEC`. An answer goes with each leaf that it was shown, and with each answer that it was made of."""

NODE_SUMMARIES_SPEC = DatasetSpec(
    "node_summaries",
    NODE_SUMMARIES,
    key=("id",),
    parents=(Parent("node_calls", "calls", "delete"), Parent("clusters", "path", "delete")),
    bookkeeping=frozenset({"calls"}),
    index=IndexPlan(vector="", scalars={"tenant": "BITMAP"}),
)
"""Which of two attempts at an answer was good is no part of a bank's digest."""
