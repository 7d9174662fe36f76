"""The section `pages`: what a language model has of events, so that it need not read them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from mnemic.catalogue import CATALOGUE
from mnemic.errors import ModelError
from mnemic.pages.datasets import PAGES
from operators.contracts import REJECTED, BatchFunction, Resources
from operators.pages.settings import PageSettings
from operators.sections import Driven, Section


@dataclass(frozen=True)
class Pages(PageSettings):
    """Row operator that makes `pages` of events; a batch has the text that follows each, "" where nothing does.

    With ``chain`` it also has the ids and texts of the events that each is read behind, ``earlier`` and
    ``earlier_texts``.
    """

    version: ClassVar[int] = 2  # KVzip's rows are its own alone, without the ends of the page
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=2 << 30)

    def output(self, schema: pa.Schema) -> pa.Schema:
        return PAGES

    def open(self, device: str) -> BatchFunction:
        from mnemic import languagemodel
        from mnemic.pages.reading import page_ids
        from operators.pages.writing import PageWriter

        writer = PageWriter(self, *languagemodel.shared(self.model, self.dtype, device))

        def write(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            events = batch.select(["id", "document", "tenant"]).to_pylist()
            ids, following = (page_ids(writer.tokenizer, batch[name].to_pylist()) for name in ("text", "following"))
            earlier = self._earlier(batch, writer.tokenizer)
            rows, rejects = [], []
            for event, own, after, before in zip(events, ids, following, earlier, strict=True):
                if len(own) < 2:
                    continue
                try:
                    if len(own) > self.longest:
                        raise ModelError(
                            f"The event has {len(own):,} tokens, and pages are made of {self.longest:,} at most; raise "
                            "`longest`, or let `segment` make smaller events."
                        )
                    rows += writer.rows(event, own, after, before)
                except ModelError as error:
                    reject = {"input": event["id"], "locator": event["document"], "reason": str(error)}
                    rejects.append({**reject, "severity": "reject"})
            return (
                pa.RecordBatch.from_pylist(rows, schema=PAGES),
                pa.RecordBatch.from_pylist(rejects, schema=REJECTED),
            )

        return write

    def _earlier(self, batch: pa.RecordBatch, tokenizer: Any) -> list[list[tuple[str, list[int]]]]:
        """Of each event the (id, tokens) of those that it is read behind."""
        from mnemic.pages.reading import page_ids

        if not self.chain:
            return [[] for _ in range(batch.num_rows)]
        names, texts = batch["earlier"].to_pylist(), batch["earlier_texts"].to_pylist()
        return [list(zip(ids, page_ids(tokenizer, own), strict=True)) for ids, own in zip(names, texts, strict=True)]


SECTION = Section(
    "pages",
    Pages,
    Driven("pipelines.steps.pages:pages_step", after=("segment",), datasets=(CATALOGUE["pages"],)),
)
