"""Banks in the terms of other libraries: each module here has a `BankRetriever` that searches one bank.

* ``langchain``    a retriever of LangChain; needs the extra `mnemic[langchain]`
* ``llama_index``  a retriever of LlamaIndex; needs the extra `mnemic[llama-index]`

They hand on what `mnemic.bank.Bank.search` finds, with the days of relative times written into the texts. Importing
this package loads neither library.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mnemic.search.note_hits import NoteHit

if TYPE_CHECKING:
    from mnemic.bank import Bank
    from mnemic.search import Hit


def ask(
    bank: Bank, query: str, best_first: bool = False, dated: bool = True, **settings: Any
) -> list[tuple[Hit | NoteHit, str]]:
    """What `Bank.search` finds with ``settings``, each with its text for a model, which has its days with ``dated``.

    In reading order, or by falling score with ``best_first``; notes, whose scores are others, come behind.
    """
    hits = bank.search(query, dated=dated, **settings)
    pairs = list(zip(hits, hits.dated if dated else [hit.text for hit in hits], strict=True))
    ordered = sorted(pairs, key=lambda pair: (-pair[0].score, pair[0].id)) if best_first else pairs
    return [*ordered, *((note, note.dated if dated else note.text) for note in hits.notes)]


def facts(event: Hit | NoteHit) -> dict[str, Any]:
    """All fields of an event but its id, text and times, as values that JSON has; ``time`` is ISO 8601 or None.

    Of a note those that an event has too, with level "note", its ``writer``, ``subject``, and ``sources``, ids of rows.
    """
    if isinstance(event, NoteHit):
        return _facts_of_note(event)
    values = dataclasses.asdict(event)
    del values["id"], values["text"], values["spoken"]
    short = [name for name in ("sources", "writer") if not values[name]]
    values = {name: list(value) if name == "sources" else value for name, value in values.items() if name not in short}
    values["time"] = None if event.time is None else event.time.isoformat()
    values["metadata"] = {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in event.metadata.items()
    }
    return values


def _facts_of_note(hit: NoteHit) -> dict[str, Any]:
    note = hit.note
    return {
        "level": "note",
        "document": note.sources[0].document,
        "start": note.sources[0].start,
        "end": note.sources[-1].end,
        "tenant": note.tenant,
        "session": note.session,
        "subject": note.subject,
        "writer": note.writer,
        "sources": [source.event for source in note.sources],
        "time": None if note.said_at is None else note.said_at.isoformat(),
        "score": hit.score,
        "reason": hit.reason,
    }


def not_installed(extra: str, error: ImportError) -> ImportError:
    """The error of an adapter whose library cannot be imported."""
    module = f"mnemic.adapters.{extra.replace('-', '_')}"
    return ImportError(
        f"{module} cannot be used: {error}. Install what it needs with `pip install 'mnemic[{extra}]'`.",
        name=error.name,
    )
