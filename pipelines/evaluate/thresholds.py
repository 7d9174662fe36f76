"""Thresholds of rules, tried on a bank that stands: which of them make a better store of equal size.

A trial draws a threshold for each rule that is tuned, judges the stored documents by the statistics that are there, and
fills a store with rows of those that pass, as many rows in every trial. The store is asked as kNN-LM about held-out
tokens, so no text is read, no model runs and nothing is trained. Data-Juicer's sandbox searches recipes in the same way
(arXiv 2407.11784), by trained models.

Thresholds are chosen on the validation part; the best is compared on the test part with a store of equal size that no
threshold chose. Such controls are among the trials: their spread is what chance alone does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Flags, Floats, Integers
from mnemic.bank import Bank
from mnemic.canaries import NOT_PLANTED, SOURCE
from mnemic.decisions import rules_in_force
from mnemic.errors import BankError
from mnemic.ids import unit_draw
from mnemic.kept import KEPT, TRAINED
from mnemic.memories.datastore import NAME as RETRIEVER
from mnemic.mixture import best_weight, mixture_nll
from mnemic.rules import Rule, judge
from mnemic.rules.values import OF_COLUMNS, STATISTICS, values_of
from mnemic.splits import STORE, TEST, VALIDATION
from mnemic.vectors import vectors
from pipelines.evaluate.bootstrap import Comparison, bootstrap

CONTROLS = 3
"""Trials without thresholds, each of other documents."""

MOST_ROWS = 20_000
"""Rows of a trial's store: up to here a search compares every row."""

SHARE = 0.5
"""Of the store's rows that a trial's store has; no trial drops more than the rest."""

_DRAWS = 200


@dataclass(frozen=True)
class Trial:
    """``thresholds`` by rule (none: a control), the share of stored documents that pass, the weight, and the perplexity
    on validation text."""

    number: int
    thresholds: Mapping[str, float]
    passing: float
    weight: float
    perplexity: float


@dataclass(frozen=True)
class TriedThresholds:
    """All trials, ``rows`` of the store of each, ``base``: perplexity on validation text without a store; ``senses``:
    "min" or "max" by rule.

    ``test`` compares the best trial with the control of the same order on test text; None where that has no tokens.
    """

    rows: int
    base: float
    senses: Mapping[str, str]
    trials: tuple[Trial, ...]
    best: Trial
    test: Comparison | None

    @property
    def better(self) -> bool:
        """Whether the best is better than chance on test text, by the interval."""
        return bool(self.best.thresholds) and self.test is not None and self.test.difference.high < 0

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "better": self.better}


def tuned(bank: Bank, names: Sequence[str], budget: int = 20, seed: int = 0) -> TriedThresholds:
    """Try ``budget`` thresholds of the rules called ``names``, beside `CONTROLS` without any.

    Raises `BankError` where the bank has no such rule, or no datastore that was searched.
    """
    from mnemic.memories.knn import KNNMemory

    return _Sandbox(bank, _rules(bank, names), seed, KNNMemory).run(budget)


def _rules(bank: Bank, names: Sequence[str]) -> tuple[Rule, ...]:
    rules = {rule.name: rule for rule in rules_in_force(bank.view)}
    unknown = sorted(set(names) - rules.keys())
    if unknown or not names:
        listed = ", ".join(sorted(rules)) or "none; write some below `curate`, with thresholds that drop little"
        wrong = f"has no rule {unknown[0]!r}" if unknown else "is to be tuned over no rule"
        raise BankError(f"{bank.path} {wrong}. Its rules are {listed}; name one with --over.")
    if "datastore" not in bank.view or RETRIEVER not in [info.name for info in bank.memories()]:
        raise BankError(
            f"{bank.path} has no datastore with neighbours, by which thresholds are tried; name a `language_model` in "
            "its recipe, and build it again."
        )
    return tuple(rules[name] for name in dict.fromkeys(names))


class _Sandbox:
    """Stores of equal size, made of documents that pass, and their answers to held-out tokens."""

    def __init__(self, bank: Bank, rules: tuple[Rule, ...], seed: int, memory: Any) -> None:
        self.bank, self.rules, self.seed, self.memory = bank, rules, seed, memory
        self.config = bank.memory_info(RETRIEVER).config
        names = {name for rule in rules for name in rule.formula.names}
        there = bank.dataset("documents").schema.names
        columns = ["id", STATISTICS, *(name for name in OF_COLUMNS if name in there)]
        chosen = f"{KEPT} AND {STORE} AND {TRAINED}" + (f" AND {NOT_PLANTED}" if SOURCE in bank.view else "")
        documents = bank.view.table("documents", columns, chosen).sort_by("id").combine_chunks()
        rows = bank.view.table("datastore", ["document", "position", "token"], STORE)
        self.ids = documents["id"].to_pylist()
        place = pc.index_in(rows["document"], value_set=documents["id"].combine_chunks())
        owner = pc.fill_null(place, -1).to_numpy().astype(np.int64)
        order = np.lexsort((rows["position"].to_numpy(), owner))
        self.order = order[owner[order] >= 0]
        self.owner: Integers = owner[self.order]
        if len(self.owner) < 2:
            raise BankError(f"{bank.path} has next to nothing in its store; give the recipe more text.")
        self.token = rows["token"].to_numpy().astype(np.int64)[self.order]
        self.counts = np.bincount(self.owner, minlength=len(self.ids))
        self.size = max(1, min(MOST_ROWS, int(SHARE * len(self.owner))))
        (batch,) = documents.to_batches()
        self.values: dict[str, Floats] = values_of(batch, names)
        self.verdicts = judge(rules, self.values)
        self.by_order: dict[int, Integers] = {}  # order of documents -> all rows in it

    @cached_property
    def keys(self) -> npt.NDArray[np.float16]:
        """The keys of the store's rows, float16 [n, d]."""
        rows = self.bank.view.table("datastore", ["key"], STORE)
        keys: npt.NDArray[np.float16] = vectors(rows["key"].combine_chunks())[self.order]
        return keys

    def run(self, budget: int) -> TriedThresholds:
        validation = self._held_out(VALIDATION)
        if not len(validation):
            raise BankError(f"{self.bank.path} has no validation text; raise `split.held_out_tokens`.")
        plans: list[tuple[dict[str, float], int]] = [({}, number) for number in range(CONTROLS)]
        plans += [(thresholds, 0) for thresholds in self._drawn(budget)]
        trials = []
        for number, (thresholds, order) in enumerate(plans):
            passing = self._passing(thresholds)
            logs = self._logs(validation, passing, order)
            weight, perplexity = best_weight(_base(validation), logs)
            trials.append(Trial(number, thresholds, float(passing.mean()), weight, perplexity))
        best = min(trials, key=lambda trial: (trial.perplexity, trial.number))
        base = float(np.exp(-_base(validation).mean()))
        senses = {rule.name: rule.sense for rule in self.rules}
        test = self._compared(best, trials[0], plans[best.number][1])
        return TriedThresholds(self.size, base, senses, tuple(trials), best, test)

    def _compared(self, best: Trial, control: Trial, order: int) -> Comparison | None:
        """The best against the control, on test text, each with the weight that validation text chose."""
        rows = self._held_out(TEST)
        if not len(rows):
            return None
        losses = [
            mixture_nll(_base(rows), self._logs(rows, self._passing(trial.thresholds), number), trial.weight)
            for trial, number in ((control, 0), (best, order))
        ]
        return bootstrap(losses[0], losses[1], rows["document"].to_numpy())

    def _drawn(self, budget: int) -> Iterator[dict[str, float]]:
        """Thresholds that drop a share of documents drawn for each rule, and together no more rows than may be."""
        for number in range(budget):
            for attempt in range(_DRAWS):
                thresholds: dict[str, float] = {}
                for place, rule in enumerate(self.rules):
                    share = (1 - SHARE) * unit_draw(self.seed, "threshold", rule.name, str(number), str(attempt))
                    values = self.verdicts.values[:, place][~self.verdicts.unjudged[:, place]]
                    if len(values):
                        quantile = np.quantile(values, share if rule.sense == "min" else 1 - share, method="nearest")
                        thresholds[rule.name] = float(f"{quantile:.4g}")
                if self.counts[self._passing(thresholds)].sum() >= self.size:
                    yield thresholds
                    break

    def _passing(self, thresholds: Mapping[str, float]) -> Flags:
        """Which documents pass, bool [documents]."""
        rules = [replace(rule, threshold=thresholds[rule.name]) for rule in self.rules if rule.name in thresholds]
        if not rules:
            return np.ones(len(self.ids), np.bool_)
        passing: Flags = judge(rules, self.values).first < 0
        return passing

    def _logs(self, held_out: pa.Table, passing: Flags, order: int) -> npt.NDArray[np.float64]:
        """log p of each token of ``held_out`` by a store of documents that pass, float64 [n]."""
        import torch

        rows = self._rows(passing, order)
        store = self.memory(
            torch.from_numpy(self.keys[rows]),
            torch.from_numpy(self.token[rows]),
            torch.from_numpy(self.owner[rows]),
            self.config["temperature"],
            self.config["neighbours"],
        )
        keys, tokens = vectors(held_out["key"].combine_chunks()), held_out["token"].to_numpy().astype(np.int64)
        logs = store.token_log_prob(torch.from_numpy(keys), torch.from_numpy(tokens))
        return logs.double().numpy()  # type: ignore[no-any-return]

    def _rows(self, passing: Flags, order: int) -> Integers:
        """The first `size` rows of documents that pass, documents in a drawn order: ascending numbers of rows."""
        if order not in self.by_order:
            draws = np.array([unit_draw(self.seed + order, "tune", one) for one in self.ids])
            rank = np.argsort(np.argsort(draws, kind="stable"))
            self.by_order[order] = np.argsort(rank[self.owner], kind="stable")
        rows = self.by_order[order]
        chosen: Integers = np.sort(rows[passing[self.owner[rows]]][: self.size])
        return chosen

    def _held_out(self, part: str) -> pa.Table:
        columns = ["document", "position", "token", "base_logprob", "key"]
        return self.bank.view.table("datastore", columns, part).sort_by(
            [("document", "ascending"), ("position", "ascending")]
        )


def _base(rows: pa.Table) -> npt.NDArray[np.float64]:
    return rows["base_logprob"].to_numpy().astype(np.float64)  # type: ignore[no-any-return]
