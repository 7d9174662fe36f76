"""The step `calls`: ask a language model about packs, and keep every answer that was paid for.

An answer, good or bad, is committed before anything is made of it (`pipelines.steps.asking`); a kill costs what is
under way. The work left is read off the rows. Rows are never changed, and those of another prompt, model or pack stay:
they are paid. Packs that get no good answer are rejects, made from the rows as well. The answers about a document that
is gone go; what they cost stays.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.catalogue import DatasetSpec
from mnemic.dataset import Snapshot, Store
from mnemic.notes.datasets import ANSWER, CALLS, CALLS_SPEC
from mnemic.notes.ledger import ledger
from mnemic.quoting import one_of, parts_of
from operators.contracts import REJECTED
from operators.written.operator import WrittenMemory
from operators.written.packs import CHARACTERS_OF_A_TOKEN
from operators.written.prompts import WrittenPrompt
from pipelines.keyset import KeySet
from pipelines.steps.asked_parts import AskedPart, PackVerdicts
from pipelines.steps.asking import Asking, settle_calls
from pipelines.steps.contracts import Context, RecordedStep, Status, StatusKind
from pipelines.steps.rejects import check_rejects, forget_rejects, rejected_inputs
from pipelines.steps.spending import estimate

_AT_ONCE = 64
"""Packs that are read at a time."""

_READ = ("pack", "document", "tenant", "session", "context", "units")
"""Columns of packs that a part is made of."""


@dataclass(frozen=True)
class CallsStep(RecordedStep):
    operator: WrittenMemory
    after: tuple[str, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        return (CALLS_SPEC.name,)

    @property
    def specs(self) -> tuple[DatasetSpec, ...]:
        return (CALLS_SPEC,)

    def check(self, store: Store, max_rejects: float) -> None:
        packs = store["packs"].require()
        check_rejects(store, self.record, packs.count, max_rejects)

    def state(self, store: Store) -> Status:
        packs, calls = store["packs"].snapshot(), store["calls"].snapshot()
        if packs is None:
            return Status("new")
        prompts = self.operator.prompts
        work = [self._left(packs, prompt, self._answered(calls, prompt)) for prompt in prompts]
        total, left = len(prompts) * packs.count(), sum(requests for requests, _ in work)
        if left:
            kind: StatusKind = "new" if calls is None else "pending"
            tokens = sum(tokens for _, tokens in work)
            return Status(kind, left, total, "packs", (estimate(self.operator, left, tokens, ledger(calls)),))
        if calls is None or (calls.record or {}).get("fingerprint") != self.record.fingerprint:
            return Status("pending", 0, total, "packs", ("every answer is there",))
        reasons = ["answers about documents that are gone"] if len(self._gone(store, calls)) else []
        if self._rejected(packs, calls).keys() != rejected_inputs(store, self.record):
            reasons.append("rejects are not up to date")
        return Status("pending" if reasons else "done", 0, total, "packs", tuple(reasons))

    def _left(self, packs: Snapshot, prompt: WrittenPrompt, answered: PackVerdicts) -> tuple[int, int]:
        """The packs that are to be asked about by ``prompt``, and the tokens of these prompts, by characters."""
        left = tokens = 0
        settled = pa.array(self._settled(packs, answered), pa.string())
        for batch in packs.scan(["pack", "tokens"], batch_size=65536):
            fresh = pc.invert(pa.array(answered.good.has(batch.select(["pack"]))))
            fresh = pc.and_not(fresh, pc.is_in(batch["pack"], value_set=settled))
            left += pc.sum(fresh).as_py() or 0
            tokens += pc.sum(batch["tokens"].filter(fresh)).as_py() or 0
        return left, tokens + left * len(prompt.system) // CHARACTERS_OF_A_TOKEN

    def _answered(self, calls: Snapshot | None, prompt: WrittenPrompt) -> PackVerdicts:
        mine = f"kind = '{ANSWER}' AND asked = '{self.record.fingerprint}' AND prompt = '{prompt.name}'"
        if calls is None:
            return PackVerdicts(KeySet())
        whole = f"{mine} AND verdict = 'good' AND part = ''"
        answered = PackVerdicts(KeySet(calls.scan(["pack"], whole, batch_size=65536)))
        columns = ["pack", "part", "attempt", "verdict", "reason"]
        for batch in calls.scan(columns, f"{mine} AND NOT (verdict = 'good' AND part = '')", batch_size=65536):
            for row in batch.filter(pc.invert(pa.array(answered.good.has(batch.select(["pack"]))))).to_pylist():
                parts = answered.others.setdefault(row["pack"], {})
                parts.setdefault(row["part"], []).append((row["attempt"], row["verdict"], row["reason"]))
        return answered

    def _settled(self, packs: Snapshot, answered: PackVerdicts) -> list[str]:
        """Packs without a good whole answer of which nothing is left to ask; few, so they are read whole."""
        return [pack["pack"] for pack in self._read(packs, list(answered.others)) if not answered.left(pack)]

    def _read(self, packs: Snapshot, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(names), _AT_ONCE):
            for batch in packs.scan(_READ, one_of("pack", names[start : start + _AT_ONCE])):
                yield from batch.to_pylist()

    def _gone(self, store: Store, calls: Snapshot) -> list[str]:
        """Documents that the answers are about and that are no more."""
        answers = f"kind = '{ANSWER}'"
        about = KeySet(calls.scan(["document"], answers, batch_size=65536))
        there = KeySet(store["documents"].require().scan(["id"], batch_size=65536))
        gone = about - there
        names: set[str] = set()
        for batch in calls.scan(["document"], answers, batch_size=65536) if len(gone) else ():
            names.update(batch["document"].filter(pa.array(gone.has(batch))).to_pylist())
        return sorted(names)

    def _rejected(self, packs: Snapshot, calls: Snapshot) -> dict[str, list[dict[str, str]]]:
        """The rejects that the answers call for, by pack."""
        refused: dict[str, list[tuple[str, str]]] = {}
        for prompt in self.operator.prompts:
            for name, path, reason in self._answered(calls, prompt).refused():
                refused.setdefault(name, []).append((path, f"no usable {prompt.noun}: {reason}"))
        rejects: dict[str, list[dict[str, str]]] = {}
        for pack in self._read(packs, list(refused)):
            for path, reason in sorted(refused[pack["pack"]]):
                units = AskedPart(pack, path).units
                place = f"{pack['document']}, characters {units[0]['start']} to {units[-1]['end']}"
                sentence = f"The language model gave {reason}."
                row = {"input": pack["pack"], "locator": place, "reason": sentence, "severity": "reject"}
                rejects.setdefault(pack["pack"], []).append(row)
        return rejects

    def run(self, context: Context) -> None:
        store, dataset = context.store, context.store["calls"]
        packs = store["packs"].require()
        settle_calls(context, self.record, dataset, CALLS, CALLS_SPEC)
        if self.state(store).todo:
            weights = str(self.record.fields.get("model") or "")
            model = self.operator.open_model(weights, self.operator.resources.device(context.device))
            try:
                for prompt in self.operator.prompts:
                    answered = self._answered(dataset.require(), prompt)
                    left, _ = self._left(packs, prompt, answered)
                    asking = Asking(self.record, self.operator, prompt, context, dataset, model, left)
                    asking.run(self._parts(packs, answered))
            finally:
                model.close()
        # Only now: the answer about a document that came back with another id was taken over.
        for about in parts_of("document", self._gone(store, dataset.require())):
            context.commit(partial(dataset.delete, f"kind = '{ANSWER}' AND {about}"))
        self._write_rejects(context, packs)

    def forget(self, context: Context) -> None:
        """Delete the answers of this step, so that all is asked and paid again; what they cost stays."""
        dataset = context.store["calls"]
        if dataset.snapshot() is not None:
            context.commit(partial(forget_rejects, context.store, f"step = '{self.name}'"))
            mine = f"kind = '{ANSWER}' AND asked = '{self.record.fingerprint}'"
            context.commit(partial(dataset.delete, mine))

    def _parts(self, packs: Snapshot, answered: PackVerdicts) -> Iterator[AskedPart]:
        """What is to be asked first, in the order of the rows."""
        for batch in packs.scan(_READ, batch_size=_AT_ONCE):
            for pack in batch.filter(pc.invert(pa.array(answered.good.has(batch.select(["pack"]))))).to_pylist():
                yield from answered.left(pack)

    def _write_rejects(self, context: Context, packs: Snapshot) -> None:
        rejects = self._rejected(packs, context.store["calls"].require())
        outdated = sorted(rejected_inputs(context.store, self.record) - rejects.keys())
        for part in parts_of("input", outdated):
            context.commit(partial(forget_rejects, context.store, f"step = '{self.name}' AND {part}"))
        rows = list(itertools.chain.from_iterable(rejects.values()))
        context.reject(self.record, pa.Table.from_pylist(rows, schema=REJECTED))
