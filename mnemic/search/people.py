"""Names that a search is narrowed to, held against those that the bank has: a misspelt one would find nothing."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.conditions import Conditions
from mnemic.errors import QueryError
from mnemic.inbox.calls import SOURCE
from mnemic.inbox.waiting import WaitingCall
from mnemic.terminal import one_line
from mnemic.view import View

_SHOWN = 8
_COLUMNS = {"tenant": "tenant", "source": "source", "collection": "collection", "speaker": "speakers"}


def check_names(view: View, named: Mapping[str, Sequence[str]], waiting: Sequence[WaitingCall] = ()) -> None:
    """Raise `QueryError`, with the names that are there, for a tenant, source, collection or speaker of no row.

    ``waiting`` is what was remembered since the release: names that it alone has are there too.
    Speakers are those of the tenants, sources and collections that are named too: nobody of another tenant is told.
    """
    events = view.dataset("events")
    remembered = _names_of(waiting, named.get("tenant"))
    within: dict[str, Sequence[str]] = {}
    for name, column in _COLUMNS.items():
        values = named.get(name)
        if not values or column not in events.schema.names:
            continue
        for value in values:
            where = Conditions.of({**within, name: [value]}).sql(events.schema, "events")
            if events.count(where) == 0 and value not in remembered.get(name, ()):
                raise QueryError(_unknown(view, name, value, names_of(view, name, within)))
        within[name] = values


def _names_of(waiting: Sequence[WaitingCall], tenants: Sequence[str] | None) -> dict[str, set[str]]:
    """The names of what waits; speakers of these ``tenants`` alone, where they are named."""
    mine = [call for call in waiting if tenants is None or call.tenant in tenants]
    return {
        "tenant": {call.tenant for call in waiting},
        "source": {SOURCE for _ in waiting},
        "speaker": {row.speaker for call in mine for row in call.rows},
    }


def names_of(view: View, name: str, within: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """The tenants, sources, collections or speakers of the events that satisfy ``within``, the most frequent first."""
    events, column = view.dataset("events"), _COLUMNS[name]
    counts: dict[str, int] = {}
    for batch in events.scan([column], Conditions.of(dict(within or {})).sql(events.schema, "events")):
        values = batch.column(0)
        values = values.flatten() if pa.types.is_list(values.type) else values
        for one in pc.value_counts(values).to_pylist():
            if one["values"]:
                counts[one["values"]] = counts.get(one["values"], 0) + one["counts"]
    return sorted(counts, key=lambda one: (-counts[one], one))


def _unknown(view: View, name: str, value: str, there: Sequence[str]) -> str:
    lowered = {one.lower(): one for one in reversed(there)}
    near = lowered.get(value.lower()) or next(
        (lowered[one] for one in difflib.get_close_matches(value.lower(), lowered, 1)), None
    )
    hint = f" Did you mean {one_line(near, 60)!r}?" if near else ""
    if not there:
        return f"No {name} is stated in {view.path}, so none is called {one_line(value, 60)!r}; leave --{name} out."
    listed = ", ".join(one_line(one, 60) for one in there[:_SHOWN])
    more = f" and {len(there) - _SHOWN:,} more" if len(there) > _SHOWN else ""
    return f"There is no {name} {one_line(value, 60)!r} in {view.path}.{hint} There are: {listed}{more}."
