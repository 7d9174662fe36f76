"""The dataset of timelines: a row for each time that a leaf of events speaks of, and for when a leaf was said.

The order is no column: a row that arrives late would move all rows behind it. It is that of ``first``, and is made when
somebody asks.
"""

from __future__ import annotations

import pyarrow as pa

from mnemic.catalogue import DatasetSpec, IndexPlan, Parent
from mnemic.schema import TIME

MEANT, SAID = "meant", "said"
"""Kinds of steps: the text names the time, or the event was said then and names none."""

TIMELINES = pa.schema(
    [
        pa.field("event", pa.string(), nullable=False),  # id of a leaf of events
        pa.field("start", pa.int64(), nullable=False),  # character range in the document: the words that mean the time,
        pa.field("end", pa.int64(), nullable=False),  # or the event
        pa.field("document", pa.string(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # MEANT or SAID
        pa.field("first", TIME, nullable=False),
        pa.field("stop", TIME, nullable=False),  # not included
        pa.field("precision", pa.string(), nullable=False),  # instant, or one of `mnemic.times.moments.PRECISIONS`
        pa.field("vague", pa.bool_(), nullable=False),  # the text counts in words such as "a few"
        pa.field("said_at", TIME),  # null where the event has no time
        pa.field("names", pa.list_(pa.string()), nullable=False),  # in small letters: mentioned beside it, or speaking
    ]
)

TIMELINES_SPEC = DatasetSpec(
    "timelines",
    TIMELINES,
    key=("event", "start", "end"),
    parents=(Parent("documents", "document", "delete"), Parent("events", "event", "delete")),
    index=IndexPlan(text="", vector="", scalars={"tenant": "BITMAP", "document": "BTREE"}),
)
