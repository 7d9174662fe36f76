"""Cutting a stream into events: units come as vectors, events are given out as they are decided.

    from mnemic.segment import SegmentSettings, Stream

    stream = Stream(SegmentSettings(method="cosine", trailing=500, min_units=4))
    for vectors in frames:  # float32 [n, d]
        for event in stream.push(vectors):
            print(event.first, event.end)

The code is `operators.segment`; it is loaded by the first name that is used.
"""

from mnemic.floors import lazily

__all__ = ["SegmentSettings", "Stream", "StreamedEvent"]  # noqa: F822

__getattr__, __dir__ = lazily(
    __name__,
    {
        "SegmentSettings": "operators.segment.settings",
        "Stream": "operators.segment.stream",
        "StreamedEvent": "operators.segment.stream",
    },
)
