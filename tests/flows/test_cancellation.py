"""A termination that Python drops is raised again by the next event."""

import gc
import signal
import sys

import pytest
from prefect.exceptions import TerminationSignal

from flows.cancellation import Cancellation, was_cancelled
from pipelines.progress import ProgressEvent


class Dropper:
    def __init__(self, error):
        self.error = error

    def __del__(self):
        raise self.error


def test_a_termination_in_a_destructor_stops_at_the_next_event_and_once():
    with Cancellation() as cancellation:
        cancellation(ProgressEvent("progress", "run"))
        dropper = Dropper(TerminationSignal(signal=signal.SIGTERM))
        del dropper
        gc.collect()
        with pytest.raises(TerminationSignal):
            cancellation(ProgressEvent("progress", "run"))
        cancellation(ProgressEvent("progress", "run"))  # what is under way can be finished


def test_other_errors_of_destructors_stop_nothing_and_are_told_as_before(monkeypatch):
    messages = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: messages.append(str(dropped.exc_value)))
    with Cancellation() as cancellation:
        dropper = Dropper(ValueError("not ours"))
        del dropper
        gc.collect()
        cancellation(ProgressEvent("progress", "run"))
    assert messages == ["not ours"]


def test_a_termination_is_known_under_what_others_made_of_it():
    try:
        try:
            raise TerminationSignal(signal=signal.SIGTERM)
        except TerminationSignal as stopped:
            raise SystemError("returned a result with an exception set") from stopped
    except SystemError as error:
        assert was_cancelled(error)
    assert not was_cancelled(SystemError("something else"))
