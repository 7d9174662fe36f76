"""What each rule of a recipe would drop: alone, as the first that fires, and as the only one; and where it is unjust.

From stored statistics where they are those that the recipe asks for. Else a sample of documents is measured here, and
the shares have an interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mnemic.arrays import Floats
from mnemic.canaries import PLANTED
from mnemic.dataset import Snapshot, Store
from mnemic.rules import Rule, Verdicts, judge
from mnemic.rules.values import OF_COLUMNS, values_of
from operators.curate.operator import LATE, Curate
from pipelines.steps.curate import CONTAMINATION, matches_counted

SAMPLE = 2000
"""Documents that are measured where there are no statistics."""

LEARNT = ("quality", LATE)
"""Columns that a model computes, and that no sample is measured by: until they are there their rules do not judge."""

_GROWN = {"measure": "statistics", **{column: column for column in OF_COLUMNS if column not in LEARNT}}
"""Step -> the column of documents that it grows and that rules read."""

FEWEST = 20
"""Documents of a source below which nothing is said of its share."""


@dataclass(frozen=True)
class RuleEffect:
    """Documents that a rule drops ``alone``, those for which it is ``first``, and those that ``only`` it drops.

    ``share`` is that of ``alone``, with an ``interval`` of 95 % where it comes of a sample. ``sources`` are the shares
    of each source, ``unjudged`` the documents that the rule does not judge.
    """

    rule: str
    sentence: str
    alone: int
    first: int
    only: int
    unjudged: int
    share: float
    interval: tuple[float, float] | None
    sources: Mapping[str, float]
    warning: str = ""


@dataclass(frozen=True)
class Effects:
    """The effects of all rules on ``documents``, of which a ``sample`` was measured or all have statistics."""

    documents: int
    judged: int
    dropped: int
    rules: tuple[RuleEffect, ...]

    @property
    def sampled(self) -> bool:
        return self.judged < self.documents


def effects(store: Store, operator: Curate, steps: Sequence[Any]) -> Effects | None:
    """The effects of the rules of ``operator`` on the documents of a bank; None where there are none yet."""
    documents = store["documents"].snapshot()
    total = 0 if documents is None else documents.count()
    if documents is None or not total:
        return None
    measuring = {_GROWN[step.name]: step for step in steps if step.name in _GROWN}
    names = {name for rule in operator.decided_by for name in rule.formula.names}
    names |= {PLANTED} if operator.planted else set()
    if all(_stands(documents, column, step) for column, step in measuring.items()):
        learnt = {step.name for step in steps if step.name in LEARNT and _grown(documents, step.name, step)}
        columns = [name for name in operator.columns_read if name not in LEARNT]
        parts = _stored(documents, [*columns, *sorted(learnt)], store[CONTAMINATION].snapshot(), names)
    else:
        parts = _measured(documents, total, measuring, names)
    return _summed(operator, parts, total)


def _stands(documents: Snapshot, column: str, step: Any) -> bool:
    """Whether all documents have the ``column`` as ``step`` would grow it."""
    return _grown(documents, column, step) and not documents.count(f"{column} IS NULL")


def _grown(documents: Snapshot, column: str, step: Any) -> bool:
    """Whether the ``column`` is that of ``step``, as it is set."""
    return bool((documents.column_record(column) or {}).get("fingerprint") == step.record.fingerprint)


def _stored(
    documents: Snapshot, columns: list[str], contamination: Snapshot | None, names: set[str]
) -> Iterator[tuple[pa.Array, dict[str, Floats]]]:
    counting = None if contamination is None else matches_counted(contamination)
    for batch in documents.scan(["source", *columns, *([] if counting is None else ["id"])], batch_size=65536):
        yield batch["source"], values_of(batch if counting is None else counting(batch), names)


def _measured(
    documents: Snapshot, total: int, measuring: Mapping[str, Any], names: set[str]
) -> Iterator[tuple[pa.Array, dict[str, Floats]]]:
    places = np.sort(np.random.default_rng(0).permutation(total)[:SAMPLE])
    rows = documents.take(places, ["source", "text"]).combine_chunks()
    (texts,) = rows.to_batches()
    arrays = {column: step.operator.open("cpu")(texts)[0][column] for column, step in measuring.items()}
    yield texts["source"], values_of(pa.RecordBatch.from_pydict({"source": texts["source"], **arrays}), names)


def _summed(operator: Curate, parts: Iterator[tuple[pa.Array, dict[str, Floats]]], total: int) -> Effects:
    rules = operator.decided_by
    alone, first, only, unjudged = (np.zeros(len(rules), np.int64) for _ in range(4))
    rows: dict[str, int] = {}
    by_source: dict[str, Any] = {}
    dropped = judged = 0
    for sources, counts in parts:
        verdicts = judge(rules, counts)
        firsts = verdicts.first
        alone += verdicts.fired.sum(axis=0)
        first += np.bincount(firsts[firsts >= 0], minlength=len(rules))
        only += (verdicts.fired & (verdicts.fired.sum(axis=1) == 1)[:, None]).sum(axis=0)
        unjudged += verdicts.unjudged.sum(axis=0)
        dropped += int((firsts >= 0).sum())
        judged += len(firsts)
        _add_sources(sources, verdicts, rows, by_source)
    shares = {name: by_source[name] / rows[name] for name in sorted(rows)}
    return Effects(
        total,
        judged,
        dropped,
        tuple(
            _effect(
                rule,
                (int(alone[place]), int(first[place]), int(only[place]), int(unjudged[place])),
                judged,
                judged < total,
                {name: float(share[place]) for name, share in shares.items()},
                {name for name in rows if rows[name] >= FEWEST},
                operator.max_disparity,
            )
            for place, rule in enumerate(rules)
        ),
    )


def _add_sources(sources: pa.Array, verdicts: Verdicts, rows: dict[str, int], by_source: dict[str, Any]) -> None:
    encoded = sources.dictionary_encode()
    codes = np.asarray(encoded.indices)
    for code, name in enumerate(encoded.dictionary.to_pylist()):
        mine = codes == code
        rows[name] = rows.get(name, 0) + int(mine.sum())
        by_source[name] = by_source.get(name, 0) + verdicts.fired[mine].sum(axis=0)


def _effect(
    rule: Rule,
    counts: tuple[int, int, int, int],
    judged: int,
    sampled: bool,
    sources: Mapping[str, float],
    large: set[str],
    disparity: float,
) -> RuleEffect:
    alone, first, only, unjudged = counts
    share = alone / judged if judged else 0.0
    mean = float(np.mean([sources[name] for name in large])) if large else 0.0
    worst = max(large, key=lambda name: (sources[name], name), default="")
    unjust = len(large) > 1 and worst and mean > 0 and sources[worst] >= disparity * mean
    warning = (
        f"{rule.name} drops {sources[worst]:.0%} of the source {worst} and {mean:.1%} of a source on average; turn it "
        f"off (`rules: {{{rule.name}: false}}`), or move it"
        if unjust
        else ""
    )
    interval = _interval(alone, judged) if sampled else None
    return RuleEffect(rule.name, rule.sentence, alone, first, only, unjudged, share, interval, sources, warning)


def _interval(hits: int, size: int) -> tuple[float, float]:
    """Wilson's interval of 95 % for a share."""
    z = 1.959964
    share = hits / size
    middle = (share + z * z / (2 * size)) / (1 + z * z / size)
    half = z * np.sqrt(share * (1 - share) / size + z * z / (4 * size * size)) / (1 + z * z / size)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
