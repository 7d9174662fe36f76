"""LoCoMo's layout: very long conversations between two people, with questions and the turns that answer them.

A sample (Maharana et al. 2024, "Evaluating Very Long-Term Conversational Memory of LLM Agents") has a `sample_id`, a
`conversation` of `session_1`, `session_2`, ... with `session_1_date_time` beside them, and its questions in `qa`. Dates
of sessions that do not exist stand there too, and mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.sources.json_values import first_label, record_of

SESSION = re.compile(r"session_([0-9]{1,9})")


def is_sample(record: Mapping[str, Any]) -> bool:
    """Whether an object has the sessions of a sample."""
    conversation = record.get("conversation")
    return isinstance(conversation, dict) and any(map(SESSION.fullmatch, conversation))


def sample_name(record: Mapping[str, Any], number: int, subject: str) -> str:
    """The name of a sample, as a tenant and in its questions: its `sample_id`, else its number in the file.

    Raises `Unusable` for a name that is no name.
    """
    return first_label(record, ("sample_id",), subject) or str(number)


def sessions(record: Mapping[str, Any], subject: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The sessions of a sample, in the order of their numbers: what sentences call one, and an object of its fields.

    Raises `Unusable` where a key of the conversation stands twice.
    """
    conversation = record_of(record["conversation"], f"the conversation of {subject}")
    numbered = sorted((int(match[1]), name) for name in conversation if (match := SESSION.fullmatch(name)))
    for _, name in numbered:
        time = conversation.get(f"{name}_date_time")
        yield f"{name} of {subject}", {"id": name, "time": time, "turns": conversation[name]}
