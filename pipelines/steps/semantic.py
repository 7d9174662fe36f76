"""The step `semantic`: events that say the same, inside the clusters of a bank with one tenant."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from mnemic.errors import StepError
from pipelines.steps.contracts import Context
from pipelines.steps.corpus import Corpus


@dataclass(frozen=True)
class SameEvents(Corpus):
    """A corpus step over `events`, which do not say whose they are: it refuses documents of several tenants."""

    def run(self, context: Context) -> None:
        tenants: set[str] = set()
        for batch in context.store["documents"].require().scan(["tenant"], batch_size=65536):
            tenants.update(pa.array(batch["tenant"]).unique().to_pylist())
        if len(tenants) > 1:
            raise StepError(
                f"`semantic` compares the events of one tenant, and this bank has documents of {len(tenants)}: what "
                "one of them said must not take the place of what another did. Leave `semantic` out of the recipe."
            )
        super().run(context)
