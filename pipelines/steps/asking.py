"""Requests under way: threads ask, and the thread that builds judges the replies and commits them.

Answers, good and bad, are committed in waves of as many as are asked at once. A budget is checked before each request
with its upper bound. What is sent has a key: a paid answer of the same key is taken over, and of two requests of one
key the second waits for the first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mnemic.catalogue import DatasetSpec, declared
from mnemic.dataset import Dataset
from mnemic.dataset.write import append_rows
from mnemic.errors import BudgetReached
from mnemic.ids import hash_parts
from mnemic.notes.datasets import ANSWER, CALLS, COST
from mnemic.quoting import one_of
from mnemic.writing import Reply, WritingModel, WritingRequest
from operators.written.operator import LONGEST_ANSWER, WrittenMemory, judge, key_of
from operators.written.prompts import WrittenPrompt
from pipelines import faults
from pipelines.identity import Record
from pipelines.keyset import KeySet
from pipelines.steps.asked_parts import AskedPart, follow_up
from pipelines.steps.contracts import Context
from pipelines.steps.spending import Spending, paid_by

_WAVE = 512
"""Rows that wait for a commit where nothing is asked, since all answers are there."""

_REMEMBERED = 1024
"""Answers that a process holds; more than are asked at once, so that those let go are committed."""


@dataclass(frozen=True)
class _Sent:
    part: AskedPart
    request: WritingRequest
    key: str
    bound: Mapping[str, float]


class Asking:
    """Asks ``model`` by ``prompt`` for the step of ``record``, and adds the answers to ``dataset``, the calls.

    ``total`` are the packs that are left, called ``unit``. ``schema`` is the dataset's: columns that it has beyond
    those of `CALLS` are of the pack. ``each`` is called with every row of an answer. All but the requests runs in the
    thread that calls `run`, which may be called again.
    """

    def __init__(
        self,
        record: Record,
        operator: WrittenMemory,
        prompt: WrittenPrompt,
        context: Context,
        dataset: Dataset,
        model: WritingModel,
        total: int,
        schema: pa.Schema = CALLS,
        unit: str = "packs",
        each: Callable[[Mapping[str, Any]], None] = lambda row: None,
    ) -> None:
        self.record, self.operator, self.prompt = record, operator, prompt
        self.context, self.dataset, self.model = context, dataset, model
        self.schema, self.unit, self.each = schema, unit, each
        self._of_pack = ("document", "tenant", "session", "pack", *(set(schema.names) - set(CALLS.names)))
        self._nothing = _nothing(schema)
        paid = dataset.require()
        self._spending = Spending(operator, paid_by(context.store))
        self._known = KeySet(paid.scan(["key"], f"kind = '{ANSWER}' AND verdict = 'good'", batch_size=65536))
        self._fresh: dict[str, str] = {}  # key -> good answer of this run
        self._like: dict[str, list[AskedPart]] = {}  # key of a request under way -> other parts that send the same
        self._total, self._done = total, 0

    def run(self, parts: Iterator[AskedPart]) -> None:
        """Ask about ``parts`` and what follows from the answers.

        An error or an interruption begins nothing more; what is under way is finished and committed, for it is paid.
        Raises ``BudgetReached`` where the budget allows no more.
        """
        waiting: deque[AskedPart] = deque()
        under_way: dict[Future[Reply], _Sent] = {}
        rows: list[dict[str, Any]] = []
        stopped: BaseException | None = None
        pool = ThreadPoolExecutor(self.model.concurrent, thread_name_prefix="ask")
        try:
            while True:
                try:
                    while stopped is None and len(under_way) < self.model.concurrent:
                        part = waiting.popleft() if waiting else next(parts, None)
                        if part is None:
                            break
                        sent = self._prepared(part)
                        if self._take_over(sent, rows):
                            if len(rows) >= _WAVE:
                                self._commit(rows, stopping=False)
                            continue
                        if sent.key in self._like:
                            self._like[sent.key].append(part)
                            continue
                        if limit := self._spending.exceeded(sent.bound):
                            stopped = self._reached(limit)
                            break
                        self._spending.change(sent.bound, 1)
                        self._like[sent.key] = []
                        under_way[pool.submit(self._ask, sent.request)] = sent
                    if not under_way:
                        break
                    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in done:
                        sent = under_way[future]
                        try:
                            after = self._answer(sent, future.result(), rows)
                        except Exception as error:
                            stopped, after = stopped or error, ()
                        del under_way[future]  # only now: an interruption before this line loses no answer
                        self._spending.change(sent.bound, -1)
                        waiting.extend((*after, *self._like.pop(sent.key)))
                    if len(rows) >= 2 * self.model.concurrent or not under_way:
                        self._commit(rows, stopped is not None)
                except BaseException as error:
                    if stopped is not None and not isinstance(stopped, Exception):
                        raise
                    stopped = error
                    self.context.tally.stopping = True
            self._commit(rows, stopped is not None)
        finally:
            pool.shutdown(wait=stopped is None, cancel_futures=True)
        if stopped is not None:
            raise stopped

    def _prepared(self, part: AskedPart) -> _Sent:
        request = self.operator.request(self.prompt, part.units, part.context, part.fault)
        key = key_of(self.model.identity, self.prompt, request, part.attempt)
        return _Sent(part, request, key, self._spending.bound(request))

    def _ask(self, request: WritingRequest) -> Reply:
        faults.reach(self.record.step, "before-write")
        reply = self.model.ask(request)
        faults.reach(self.record.step, "after-write")
        return reply

    def _reached(self, limit: str) -> BudgetReached:
        left = self._total - self._done
        return BudgetReached(
            f"The budget of {self.operator.budget[limit]:g} {limit} allows no further request; {left:,} of "
            f"{self._total:,} {self.unit} are left. Raise `budget` in `written`; what was paid is not asked again."
        )

    def _take_over(self, sent: _Sent, rows: list[dict[str, Any]]) -> bool:
        """Answer from a paid row with the same key, if there is one."""
        answer = self._fresh.get(sent.key)
        if (
            answer is None
            and self._known.has(pa.RecordBatch.from_pydict({"key": pa.array([sent.key], pa.string())}))[0]
        ):
            where = f"kind = '{ANSWER}' AND verdict = 'good' AND key = '{sent.key}'"
            answers = self.dataset.require().table(["answer"], where)["answer"]
            answer = answers[0].as_py() if len(answers) else None
        if answer is None:
            return False
        rows.append(self._answer_row(sent, "good", "", answer))
        self.each(rows[-1])
        self._done += 1
        return True

    def _answer(self, sent: _Sent, reply: Reply, rows: list[dict[str, Any]]) -> Sequence[AskedPart]:
        """Add the rows of a reply, and return what it makes necessary to ask."""
        verdict, reason = judge(reply, self.prompt, sent.part.units)
        text = reply.text if verdict == "good" else reply.text[:LONGEST_ANSWER]
        answer = self._answer_row(sent, verdict, reason, text)
        price = self.operator.cost(reply.prompt_tokens, reply.completion_tokens)
        paid = {
            "calls": 1.0,
            "tokens": float(reply.prompt_tokens + reply.completion_tokens),
            "money": price,
        }
        self._spending.change(paid, 1)
        cost = {
            **self._nothing,
            "call": hash_parts("cost", answer["call"]),
            "kind": COST,
            **{name: answer[name] for name in ("asked", "model", "prompt", "attempt", "verdict", "run")},
            "prompt_tokens": reply.prompt_tokens,
            "answer_tokens": reply.completion_tokens,
            "price": price,
            "seconds": reply.seconds,
            "counted": reply.counted,
        }
        rows += [answer, cost]
        self.each(answer)
        if verdict == "good":
            self._remember(sent.key, text)
        after = follow_up(sent.part, [(sent.part.attempt, verdict, reason)])
        if not after:
            self._done += not sent.part.path
        return after or ()

    def _remember(self, key: str, answer: str) -> None:
        """Keep a good answer for packs that send the same; of many the oldest are read from their rows."""
        self._fresh[key] = answer
        if len(self._fresh) > _REMEMBERED:
            oldest = next(iter(self._fresh))
            del self._fresh[oldest]
            self._known |= KeySet([pa.RecordBatch.from_pydict({"key": pa.array([oldest], pa.string())})])

    def _answer_row(self, sent: _Sent, verdict: str, reason: str, text: str) -> dict[str, Any]:
        part = sent.part
        return {
            **self._nothing,
            "call": hash_parts("answer", sent.key, part.pack["pack"], part.path, self.record.fingerprint),
            "kind": ANSWER,
            "key": sent.key,
            "asked": self.record.fingerprint,
            "model": self.model.identity,
            "prompt": self.prompt.name,
            **{name: part.pack[name] for name in self._of_pack},
            "part": part.path,
            "attempt": part.attempt,
            "verdict": verdict,
            "reason": reason,
            "units": part.units,
            "answer": text.encode("utf-8", "replace").decode(),
            "run": self.context.run,
        }

    def _commit(self, rows: list[dict[str, Any]], stopping: bool) -> None:
        """Commit ``rows`` and empty the list, before anybody is told: a sink may raise.

        With ``stopping``, rows that are there already are left out: an interruption may come just after their commit.
        """
        if stopping:
            rows[:] = self._uncommitted(rows)
        if rows:
            table = pa.Table.from_pylist(rows, schema=self.schema)
            properties = self.context.properties(self.record)
            self.context.commit(lambda: append_rows(self.dataset, table, self.schema, properties))
            self.context.tally.rows += sum(row["kind"] == ANSWER for row in rows)
            rows.clear()
            self.context.progress(min(self._done, self._total), self._total, self.unit)

    def _uncommitted(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Of ``rows`` those that are not in the dataset, each once: an interrupted line may have run twice."""
        by_call = {row["call"]: dict(row) for row in rows}
        if by_call:
            there = self.dataset.require().table(["call"], one_of("call", by_call))["call"].to_pylist()
            by_call = {call: row for call, row in by_call.items() if call not in there}
        return list(by_call.values())


def settle_calls(context: Context, record: Record, dataset: Dataset, schema: pa.Schema, spec: DatasetSpec) -> None:
    """The ``dataset`` of calls is there, with the ``record`` of a step; rows of others stay, since they are paid."""
    snapshot = dataset.snapshot()
    if snapshot is None:
        properties = context.properties(record)
        context.commit(lambda: dataset.create(declared(schema, spec), record.as_json(), properties))
    elif (snapshot.record or {}).get("fingerprint") != record.fingerprint:
        context.commit(lambda: dataset.annotate(record.as_json()))


def _nothing(schema: pa.Schema) -> dict[str, Any]:
    """A row of ``schema`` without content."""
    empty: dict[Any, Any] = {pa.string(): "", pa.large_string(): "", pa.float64(): 0.0, pa.bool_(): True}
    return {field.name: [] if pa.types.is_list(field.type) else empty.get(field.type, 0) for field in schema}
