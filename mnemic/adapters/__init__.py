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

if TYPE_CHECKING:
    from mnemic.bank import Bank
    from mnemic.search import Hit


def ask(bank: Bank, query: str, best_first: bool = False, dated: bool = True, **settings: Any) -> list[tuple[Hit, str]]:
    """What `Bank.search` finds with ``settings``, each with its text for a model, which has its days with ``dated``.

    In reading order, or by falling score with ``best_first``.
    """
    hits = bank.search(query, dated=dated, **settings)
    pairs = list(zip(hits, hits.dated if dated else [hit.text for hit in hits], strict=True))
    return sorted(pairs, key=lambda pair: (-pair[0].score, pair[0].id)) if best_first else pairs


def facts(event: Hit) -> dict[str, Any]:
    """All fields of an event but its id, text and times, as values that JSON has; ``time`` is ISO 8601 or None."""
    values = dataclasses.asdict(event)
    del values["id"], values["text"], values["spoken"]
    values["time"] = None if event.time is None else event.time.isoformat()
    values["metadata"] = {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in event.metadata.items()
    }
    return values


def not_installed(extra: str, error: ImportError) -> ImportError:
    """The error of an adapter whose library cannot be imported."""
    module = f"mnemic.adapters.{extra.replace('-', '_')}"
    return ImportError(
        f"{module} cannot be used: {error}. Install what it needs with `pip install 'mnemic[{extra}]'`.",
        name=error.name,
    )
