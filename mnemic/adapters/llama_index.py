"""A bank as a retriever of LlamaIndex, for query engines, chat engines and agents.

    from mnemic.adapters.llama_index import BankRetriever

    retriever = BankRetriever.open("memory/python-environment", words=500)
    nodes = retriever.retrieve("how do I tag a dataset version?")

Needs the extra `mnemic[llama-index]`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mnemic.adapters import ask, facts, not_installed
from mnemic.bank import Bank, open_bank
from mnemic.conditions import Where
from mnemic.errors import QueryError
from mnemic.search import CONTIGUITY, Hit
from mnemic.search.note_hits import NoteHit

try:
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import (
        NodeRelationship,
        NodeWithScore,
        ObjectType,
        QueryBundle,
        RelatedNodeInfo,
        TextNode,
    )
except ImportError as error:
    raise not_installed("llama-index", error) from error


class BankRetriever(BaseRetriever):  # type: ignore[misc]
    """Events of ``bank`` that answer a query, as nodes of LlamaIndex with their fused scores.

    A node has the event's id and text (of `Results.dated`, unless ``dated`` is false), its range of characters in the
    document (``start_char_idx``, ``end_char_idx``), and the document as its source (``ref_doc_id``). Its ``metadata``,
    which JSON can hold, is the rest of
    `mnemic.search.Hit`: document, source (its name in the recipe), locator (where in it), collection, tenant,
    session, level, start, end, time (ISO 8601), speakers, turns, words, reason, and score, similarity, bm25,
    event_bm25, document_bm25, None where a signal did not rank the event. A language model is given the text alone, so
    that the budget holds for what it reads, and the metadata that ``shown`` names, such as ``("locator", "time")``.
    Notes that share the budget (``notes=0.5``) come behind, with level "note".

    The other settings are those of `mnemic.bank.Bank.search`. Nodes come in reading order, the best source first, as a
    prompt needs them. With ``best_first`` they come by falling score, as rerankers, mergers of several retrievers and
    measures of ranks expect. Scores are sums of reciprocal ranks, far below 1: a cutoff made for cosines would drop
    everything.

    Of a `QueryBundle` only ``query_str`` is used: its embedding may be of another model than the bank's vectors, and
    with ``custom_embedding_strs`` words and meaning would be asked for different things. Calls may come from several
    threads; `aretrieve` runs in one. Raises what `Bank.search` raises.
    """

    def __init__(
        self,
        bank: Bank,
        words: int | None = 500,
        k: int | None = None,
        where: Where = None,
        level: str | None = None,
        *,
        tokens: int | None = None,
        tokenizer: Any = None,
        contiguity: float = CONTIGUITY,
        fit: str = "within",
        route: int | None = None,
        best_first: bool = False,
        dated: bool = True,
        notes: float | None = None,
        shown: Collection[str] = (),
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(callback_manager)
        unknown = sorted(set(shown) - {field.name for field in dataclasses.fields(Hit)})
        if unknown:
            raise QueryError(f"Nodes have no metadata {unknown[0]!r} to be shown; see the docstring of BankRetriever.")
        self.bank = bank
        self.shown = frozenset(shown)
        self.settings = {
            "words": words,
            "k": k,
            "where": where,
            "level": level,
            "tokens": tokens,
            "tokenizer": tokenizer,
            "contiguity": contiguity,
            "fit": fit,
            "route": route,
            "best_first": best_first,
            "dated": dated,
            "notes": notes,
        }

    @classmethod
    def open(
        cls,
        path: str | Path,
        release: str | None = None,
        storage_options: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> BankRetriever:
        """A retriever over the bank at ``path``, opened as by `mnemic.open_bank`."""
        return cls(open_bank(path, release, storage_options), **settings)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = ask(self.bank, query_bundle.query_str, **self.settings)
        return [NodeWithScore(node=_node(event, text, self.shown), score=event.score) for event, text in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(event: Hit | NoteHit, text: str, shown: Collection[str]) -> TextNode:
    metadata = facts(event)
    origin = {name: metadata[name] for name in ("source", "locator") if name in metadata}
    document = RelatedNodeInfo(node_id=metadata["document"], node_type=ObjectType.DOCUMENT, metadata=origin)
    return TextNode(
        id_=event.id,
        text=text,
        start_char_idx=metadata["start"],
        end_char_idx=metadata["end"],
        metadata=metadata,
        excluded_llm_metadata_keys=[name for name in metadata if name not in shown],
        excluded_embed_metadata_keys=list(metadata),
        relationships={NodeRelationship.SOURCE: document},
    )
