"""A cancelled run stops, even where the exception that should stop it gets lost.

To cancel a run, Prefect sends SIGTERM to its process group; its handler raises `TerminationSignal` in the main thread,
which is where a build runs. Work under way is then finished and committed
(`pipelines.steps.contracts.Context.in_waves`). Prefect leaves 30 s for it before it kills the process; the next run
does again the work that was not committed by then. The handler has to stay Prefect's own: only then does it tell a
cancelled run from a crashed one.
"""

from __future__ import annotations

import signal
import sys
from types import TracebackType
from typing import Any

from prefect.exceptions import TerminationSignal

from pipelines.progress import ProgressEvent


class Cancellation:
    """A sink, and a context manager: the first event after a termination was dropped raises it again.

    Python drops what is raised in a destructor, or in a callback from C, and tells `sys.unraisablehook` alone.
    """

    def __init__(self) -> None:
        self._dropped = False

    def __enter__(self) -> Cancellation:
        self._before = sys.unraisablehook
        sys.unraisablehook = self._look
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.unraisablehook = self._before

    def __call__(self, event: ProgressEvent) -> None:
        if self._dropped:
            self._dropped = False
            raise TerminationSignal(signal=signal.SIGTERM)

    def _look(self, dropped: Any) -> None:
        if was_cancelled(dropped.exc_value):
            self._dropped = True
        else:
            self._before(dropped)


def was_cancelled(error: BaseException | None) -> bool:
    """Whether ``error`` comes from a termination: Ray's ``wait`` turns what is raised in it into a SystemError."""
    while error is not None and not isinstance(error, TerminationSignal):
        error = error.__cause__ or error.__context__
    return error is not None
