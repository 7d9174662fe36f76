"""The documents that a bank keeps: one predicate for steps, commands and the funnel.

Conditions write it as `KEPT`, and `mnemic.dataset.Snapshot` expands it by the columns that are there: a bank before
deduplication keeps everything, one with filters also asks what they decided.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import pyarrow as pa

KEPT = "kept()"
"""Stands in a condition for the predicate, as a function of SQL would."""

TRAINED = "trained()"
"""Stands for: not left out of what memories are trained on, by a subset. Documents that are held out never are."""

PASSING = "passing()"
"""As `KEPT` without the rules over perplexity, which judge what a language model has read: units are made of these."""

DECISION = pa.struct(
    [
        pa.field("rule", pa.string(), nullable=False),  # the first that drops the document; "" keeps it
        pa.field("value", pa.float64()),  # of that rule's expression
        pa.field("threshold", pa.float64()),  # of that rule
        pa.field("rules", pa.list_(pa.string()), nullable=False),  # all that fired
    ]
)
"""The column `decision` of documents, which the step `curate` writes."""

SUBSET = pa.struct(
    [
        pa.field("leaves", pa.bool_(), nullable=False),  # taken of the leaves of the cluster tree
        pa.field("random", pa.bool_(), nullable=False),  # taken at random
        pa.field("trained", pa.bool_(), nullable=False),  # of the two, by what the recipe trains on
    ]
)
"""The column `subset` of documents, which the step of that name writes."""

PERPLEXITY = pa.struct([pa.field("perplexity", pa.float64()), *DECISION])
"""The column `perplexity` of documents, which the step of that name writes: the value, null where no token was scored,
and the decision of the rules over it."""

JUDGED_UNIT = pa.struct([pa.field("rule", pa.string(), nullable=False)])
"""The column `perplexity` of units: the rule over it that drops their document, or ""."""

_DECISIONS = {
    "duplicate_of": "duplicate_of = ''",
    "decision": "decision.rule = ''",
    "perplexity": "perplexity.rule = ''",
}
"""Column of `documents` that decides -> what a kept document has there. Each column has one writer."""

_TOKEN = re.compile(r"\b(kept|passing|trained)\(\)")


def expand(where: str | None, columns: Collection[str]) -> str | None:
    """``where`` with `KEPT`, `PASSING` and `TRAINED` written out for a dataset with these ``columns``.

    Texts in quotes stay as they are.
    """
    if where is None or not _TOKEN.search(where):
        return where
    parts = where.split("'")  # every second part is quoted; a doubled quote opens an empty one outside
    parts[::2] = [_TOKEN.sub(lambda token: _predicate(token[0], columns), part) for part in parts[::2]]
    return "'".join(parts)


def _predicate(token: str, columns: Collection[str]) -> str:
    if token == TRAINED:
        return "(split <> 'store' OR subset.trained)" if "subset" in columns else "true"
    of_token = [column for column in _DECISIONS if token == KEPT or column != "perplexity"]
    rules = [_DECISIONS[column] for column in of_token if column in columns]
    return f"({' AND '.join(rules)})" if rules else "true"
