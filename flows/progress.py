"""Prefect's view of a running build: two sinks, one for the progress of each step and one for the log."""

from __future__ import annotations

import contextvars
import io
import threading
from types import TracebackType
from typing import cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.markdown import key
from pipelines.live import StepPace, duration
from pipelines.progress import ProgressEvent, Sink, TerminalLines

EVERY_SECONDS = 2.0
PATIENCE_SECONDS = 5.0
"""How long the end of a step waits for a server that does not answer."""


class ProgressPages:
    """One progress artifact for each step that runs, `step-NAME-RECIPE`, renewed every two seconds.

    A thread posts it, so that a server that is slow or away costs the build nothing but the sight of it.
    """

    def __init__(self, recipe: str, every: float = EVERY_SECONDS) -> None:
        self._recipe, self._every = recipe, every
        self._page: _Page | None = None

    def __enter__(self) -> ProgressPages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close("stopped")

    def __call__(self, event: ProgressEvent) -> None:
        if event.kind == "step-start":
            self._close("stopped")  # what is begun again had not ended
            self._page = _Page(event.step, key(f"step-{event.step}", self._recipe), self._every)
        elif event.kind == "progress" and self._page is not None and event.total:
            words = [f"{event.done:,} of {event.total:,} {event.unit}"]
            self._page.pace.hear(event.done, event.at)
            words += self._page.pace.words(event.done, event.total, event.at)
            self._page.latest = (round(100.0 * event.done / event.total, 1), ", ".join(filter(None, words)))
        elif event.kind == "step-end" and self._page is not None:
            self._page.latest = (100.0, self._page.latest[1])
            counted = f"{event.done:,} {event.unit} in " if event.done else ""
            self._close(f"{counted}{duration(event.seconds)}")

    def _close(self, words: str) -> None:
        if self._page is not None:
            self._page.close(words)
            self._page = None


class _Page:
    """The artifact of one step. It should show ``latest`` (percent, words)."""

    def __init__(self, step: str, name: str, every: float) -> None:
        self.pace = StepPace()
        self.latest = (0.0, "begun")
        self._step, self._key, self._every = step, name, every
        self._closing = threading.Event()
        self._failed = False
        # The copied context names the task run that the artifact belongs to.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._post,), name=f"progress of {step}", daemon=True)
        self._thread.start()

    def close(self, words: str) -> None:
        self.latest = (self.latest[0], words)
        self._closing.set()
        if not self._failed:
            self._thread.join(PATIENCE_SECONDS)

    def _post(self) -> None:
        artifact, posted = None, None
        while True:
            closing, latest = self._closing.is_set(), self.latest
            try:
                if artifact is None:
                    artifact = cast(UUID, create_progress_artifact(latest[0], self._key, latest[1]))
                elif latest != posted:
                    update_progress_artifact(artifact, *latest)
                posted = latest
            except Exception as error:
                if not self._failed:
                    get_run_logger().warning("The progress of %s cannot be shown (%s).", self._step, error)
                self._failed = True
            if closing:
                return
            self._closing.wait(self._every)


def log_lines(every: float = 30.0) -> Sink:
    """The lines that a terminal would show, in the log of the run; but for ends of steps, which Prefect logs itself."""
    lines = TerminalLines(_RunLog(), every)

    def tell(event: ProgressEvent) -> None:
        if event.kind != "step-end":
            lines(event)
        else:
            lines.tell_more_rejects()

    return tell


class _RunLog(io.StringIO):
    def write(self, text: str) -> int:
        if text.strip():
            get_run_logger().info("%s", text.strip())
        return len(text)
