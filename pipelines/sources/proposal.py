"""Which field of records is the text, which their id and their time: a guess from a sample, for `mnemic init`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from pipelines.sources.times import read_time

_TEXTS = ("text", "content", "body", "document", "article", "description", "abstract", "message", "comment", "summary")
_TIMES = ("time", "timestamp", "date", "created_at", "published", "datetime", "created", "updated_at")
_IDS = ("id", "_id", "uuid", "key", "url", "doc_id")


def fields_of(records: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Settings for records like these; nothing where no field holds text.

    The text is a field of a name that texts have, or else the one with the longest values on the median. A time is a
    field of such a name whose values can be read, an id one whose values all differ.
    """
    names = list(dict.fromkeys(name for record in records for name in record if name))
    values = {name: [record.get(name) for record in records] for name in names}
    lengths = {name: statistics.median(map(_length, column)) for name, column in values.items() if column}
    texts = [name for name in names if lengths.get(name, 0) > 0]
    if not texts:
        return {}
    called = next((name for usual in _TEXTS for name in texts if name.lower() == usual), None)
    longest = max(texts, key=lambda name: lengths[name])
    text = called if called is not None and lengths[called] >= 20 else longest
    settings: dict[str, object] = {} if text == "text" else {"text_field": text}
    for usual in _IDS:
        same = next((name for name in names if name.lower() == usual and name != text), None)
        stated = [] if same is None else values[same]
        if stated and all(_is_label(value) for value in stated) and len(set(map(str, stated))) == len(stated):
            settings["id_field"] = same
            break
    for usual in _TIMES:
        same = next((name for name in names if name.lower() == usual and name != text), None)
        if same is not None and all(value in (None, "") or _is_iso(value) for value in values[same]):
            settings["time_field"] = same
            break
    return settings


def _length(value: object) -> int:
    return len(value) if isinstance(value, str) else 0


def _is_label(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip() != ""


def _is_iso(value: object) -> bool:
    if isinstance(value, str):
        return read_time(value) is not None and value.strip()[:4].isdigit()
    return not isinstance(value, bool) and (hasattr(value, "isoformat") or isinstance(value, int | float))
