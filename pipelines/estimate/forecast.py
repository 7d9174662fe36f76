"""A build's forecast of itself, and what it learns from how it came out."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from mnemic.dataset import Store
from mnemic.errors import MnemicError
from pipelines.estimate.amounts import committed, unread
from pipelines.estimate.build import BuildEstimate, Estimator, Work
from pipelines.estimate.machine import Machine
from pipelines.estimate.pace import MachinePace, past_rates, write_pace
from pipelines.estimate.rates import CHARACTERS_OF_A_UNIT, UNITS_OF_AN_EVENT
from pipelines.live import duration
from pipelines.release import release_state
from pipelines.steps import Status, Step
from pipelines.steps.contracts import state_of
from pipelines.steps.read import ReadStep

LEAST_BYTES = 100_000
"""Bytes of a corpus from which on it says what text its kind of source gives."""

_FAILURES = (MnemicError, OSError, LookupError, TypeError, ValueError, ArithmeticError)


class Forecast:
    """Made when the first step is found that has work; a build that has nothing to do needs none.

    Nothing of a bank depends on it, so a failure of it is none of the build's: it says and learns nothing then.
    """

    def __init__(self, store: Store, steps: Sequence[Step], running: Sequence[Step], machine: Machine) -> None:
        self._steps, self._running, self._store = steps, running, store
        self._estimator: Estimator | None = None
        self._works: dict[str, Work] = {}
        self.estimate = BuildEstimate()
        with contextlib.suppress(*_FAILURES):
            self._estimator = Estimator(store, steps, machine, past_rates(store))

    def begin(self, first: Step, status: Status, release: bool) -> None:
        """Estimate the steps from ``first`` on, whose ``status`` is at hand."""
        if self._estimator is None:
            return
        with contextlib.suppress(*_FAILURES):
            names = [step.name for step in self._running]
            later = self._running[names.index(first.name) + 1 :]
            statuses = {first.name: status, **{step.name: state_of(step, self._store) for step in later}}
            if release:
                statuses["release"] = release_state(self._store, self._steps)
            self.estimate = self._estimator.whole(statuses)

    @property
    def words(self) -> str:
        """The forecast as a line for a person, "" where there is none."""
        if self._estimator is None or self.estimate.seconds <= 0:
            return ""
        crowding = self._estimator.machine.crowding
        beside = f" beside what else runs here ({crowding:.1f} times as long)" if crowding >= 1.5 else ""
        lines = [f"about {duration(self.estimate.seconds)} expected{beside}"]
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.estimate.warnings)])

    def expect(self, step: Step, status: Status) -> None:
        """Take note of the work of a step that is about to run."""
        if self._estimator is not None:
            with contextlib.suppress(*_FAILURES):
                self._works[step.name] = self._estimator.now(step, status)

    def learn(self, name: str, seconds: float) -> None:
        """Take note of what it took."""
        work = self._works.pop(name, None)
        if self._estimator is not None and work is not None:
            starting, self.estimate.starting = self.estimate.starting, 0.0
            self._estimator.learn(name, work, max(seconds - starting, 0.3 * seconds))

    def close(self, whole: bool) -> None:
        """Keep what was learnt for the next estimate; of a build that did not end, the pace of its steps."""
        if self._estimator is not None:
            with contextlib.suppress(*_FAILURES):
                if whole:
                    self._learn_texts(self._estimator.pace)
                write_pace(self._estimator.pace)

    def _learn_texts(self, pace: MachinePace) -> None:
        """What text the items gave: where all are of one kind, the bank holds just theirs."""
        read = next((step for step in self._running if isinstance(step, ReadStep)), None)
        kinds = set() if read is None else {source.kind for source in read.sources}
        if read is None or len(kinds) != 1:
            return
        (kind,), there, shipped = kinds, committed(self._store), unread(read, 1.0, MachinePace())
        if shipped.bytes < LEAST_BYTES:
            return
        pace.learn(f"text {kind} characters", shipped.characters, there.characters)
        pace.learn(f"text {kind} documents", shipped.documents, there.documents)
        pace.learn("text units", there.characters / CHARACTERS_OF_A_UNIT, there.units)
        pace.learn("text events", there.units / UNITS_OF_AN_EVENT, there.events)
