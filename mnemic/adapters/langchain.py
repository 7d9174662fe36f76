"""A bank as a retriever of LangChain, for chains, agents and tools.

    from mnemic.adapters.langchain import BankRetriever

    retriever = BankRetriever.open("memory/python-environment", words=500)
    documents = retriever.invoke("how do I tag a dataset version?")
    documents = retriever.invoke("what did Ada say about it?", words=200, where={"speaker": "Ada"})

Needs the extra `mnemic[langchain]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnemic.adapters import ask, facts, not_installed
from mnemic.bank import Bank, open_bank
from mnemic.search import CONTIGUITY

try:
    from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import run_in_executor
    from pydantic import ConfigDict
except ImportError as error:
    raise not_installed("langchain", error) from error


class BankRetriever(BaseRetriever):  # type: ignore[misc]
    """Events of ``bank`` that answer a query, as documents of LangChain.

    A document has the event's text as ``page_content`` (of `Results.dated`, unless ``dated`` is false) and its id as
    ``id``. Its ``metadata``, which JSON can hold, is the rest of `mnemic.search.Hit`: document, source (its name in the
    recipe), locator (where in it), collection, tenant, session, level, start and end (characters of the document), time
    (ISO 8601), speakers, turns, words, reason, and score (fused), similarity, bm25, event_bm25, document_bm25, None
    where a signal did not rank the event. Notes that share the budget (``notes=0.5``) come behind, with level "note".

    The settings are those of `mnemic.bank.Bank.search`. Documents come in reading order, the best source first, as a
    prompt needs them. With ``best_first`` they come by falling score, as rerankers, mergers of several retrievers and
    measures of ranks expect. Any setting can be given to one call, as in ``invoke(query, words=200)``, and then
    replaces that of the retriever; only ``where`` is added to it, so that no call gets what the retriever was not to
    see. Calls may come from several threads; `ainvoke` and `abatch` run in LangChain's executor.

    Raises what `Bank.search` raises, and pydantic's ``ValidationError`` for a setting that does not exist.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    bank: Bank
    words: int | None = 500
    k: int | None = None
    where: Any = None
    level: str | None = None
    tokens: int | None = None
    tokenizer: Any = None
    contiguity: float = CONTIGUITY
    fit: str = "within"
    route: int | None = None
    best_first: bool = False
    dated: bool = True
    notes: bool | float | None = None

    @classmethod
    def open(
        cls,
        path: str | Path,
        release: str | None = None,
        storage_options: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> BankRetriever:
        """A retriever over the bank at ``path``, opened as by `mnemic.open_bank`."""
        return cls(bank=open_bank(path, release, storage_options), **settings)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **settings: Any
    ) -> list[Document]:
        own = {name: getattr(self, name) for name in _SETTINGS}
        narrowed = {"where": [self.where, settings.pop("where", None)]}
        hits = ask(self.bank, query, **(own | settings | narrowed))
        return [Document(text, id=event.id, metadata=facts(event)) for event, text in hits]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **settings: Any
    ) -> list[Document]:
        documents = run_in_executor(
            None, self._get_relevant_documents, query, run_manager=run_manager.get_sync(), **settings
        )
        return await documents  # type: ignore[no-any-return]


_SETTINGS = [name for name in BankRetriever.__annotations__ if name != "bank"]
