"""Progress for people: which step of how many, a pace that is never nothing, and a terminal that is never silent."""

import contextlib
import io
import os
import pty
import re
import select
import signal
import time

import pytest

from mnemic import inside
from mnemic.ticker import Ticker
from pipelines.live import LiveLine, Working, duration, left, rate
from pipelines.progress import ProgressEvent, TerminalLines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("done", "seconds", "words"),
    [
        (26_636, 25.6, "1,040/s"),
        (4, 2.0, "2.0/s"),
        (30, 60.0, "30/min"),
        (1, 40.0, "1.5/min"),
        (1, 7200.0, "0.5/h"),
        (0, 5, ""),
    ],
)
def test_a_rate_is_never_nothing_a_second(done: int, seconds: float, words: str) -> None:
    assert rate(done, seconds) == words


def test_times_are_as_people_say_them() -> None:
    assert [duration(one) for one in (0.34, 45, 1200, 12600)] == ["0.3 s", "45 s", "20 min", "3.5 h"]
    assert left(3, 1, 400.0) == "20 min left" and left(4, 0, 10.0) == left(0, 4, 10.0) == ""


def events() -> list[ProgressEvent]:
    at = time.time() - 20
    return [
        ProgressEvent("checking", "run", "embed", 3, 9, at=at),
        ProgressEvent("step-start", "run", "embed", 3, 9, at=at),
        ProgressEvent("progress", "run", "embed", 10, 400, "rows", workers=2, device="cpu", at=at + 6),
        ProgressEvent("progress", "run", "embed", 100, 400, "rows", workers=2, device="cpu", at=at + 11),
        ProgressEvent("reject", "run", "embed", message="  left out: a.txt: \x1b[31mno text"),
        ProgressEvent("step-end", "run", "embed", 400, 400, "rows", seconds=40.0),
    ]


def test_elsewhere_there_are_plain_lines() -> None:
    stream = io.StringIO()
    with TerminalLines(stream) as lines:
        for event in events():
            lines(event)
    assert stream.getvalue().splitlines() == [
        "[3/9] embed         100 / 400 rows  18/s  17 s left  11 s",
        "  left out: a.txt: [31mno text",
        "[3/9] embed         400 rows  10/s  40 s",
    ]


def test_a_terminal_sees_workers_device_rejects_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    stream = Terminal()
    with TerminalLines(stream) as lines:
        assert "starting" in stream.getvalue(), "something is seen before anything has happened"
        for event in events()[:-1]:
            lines(event)
        last = stream.getvalue().rpartition("\r")[2]
    assert re.search(r"\[3/9\] embed +100 / 400 rows  .*/s  .* left  .* s  2 workers  cpu  1 left out  \d\.\d GB", last)
    assert "\x1b[31m" not in stream.getvalue()


def test_a_terminal_is_drawn_on_while_nothing_is_heard() -> None:
    stream = Terminal()
    drawn: list[str] = []
    with Working("loading the model", stream):
        deadline = time.monotonic() + 60.0
        while len(drawn) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
            drawn = re.findall(r"loading the model  (\d+\.\d) s", stream.getvalue())
    assert len(drawn) >= 3 and drawn == sorted(drawn, key=float) and stream.getvalue().endswith("\r\x1b[2K")
    quiet = io.StringIO()
    with Working("loading the model", quiet) as doing:
        doing("questions", 1, 2)
    assert quiet.getvalue() == ""


def test_a_live_line_is_no_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    line = LiveLine(stream, lambda: "x" * 100)
    line.open()
    line.draw()
    line.close()
    assert "x" * 36 + "..." in stream.getvalue() and "x" * 37 not in stream.getvalue()


def test_whoever_stops_reading_stops_nothing() -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with TerminalLines(Gone()) as lines:
        for event in events():
            lines(event)


def test_words_from_inside_a_call_reach_the_listener_as_rows() -> None:
    numbers: list[int] = []
    inside.tell(1)
    with inside.heard_by(numbers.append), inside.told_as(lambda rows: 100 + rows):
        inside.tell(2)
        with inside.told_as(lambda sequences: sequences * 10):
            inside.tell(3)
    inside.tell(4)
    assert numbers == [102, 130]


def test_a_terminal_moves_while_this_process_cannot() -> None:
    """As while a large library is loaded: nothing of this process writes, and no thread of it gets to run."""
    ours, terminal = pty.openpty()
    os.set_blocking(ours, False)
    with os.fdopen(terminal, "w") as stream:
        ticker = Ticker(stream)
        ticker.show("[3/9] embed  starting  0.2 s")
        time.sleep(0.2)
        written = b""
        deadline = time.monotonic() + 60.0
        while written.count(b"+") < 2 and time.monotonic() < deadline:
            select.select([ours], [], [], 1.0)
            with contextlib.suppress(BlockingIOError):
                written += os.read(ours, 4096)
        ticker.close()
    os.close(ours)
    shown = re.findall(r"\r\x1b\[2K\[3/9\] embed  starting  0\.2 s  \+(\d+) s", written.decode())
    seconds = [int(one) for one in shown]
    assert len(seconds) >= 2 and seconds[0] >= 1 and seconds == sorted({*seconds}), "since this process last wrote"


def test_a_ticker_ends_with_whoever_began_it_and_waits_for_nobody() -> None:
    ours, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stream:
        ticker = Ticker(stream)
        process = ticker._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)  # as a terminal that is stopped does
        started = time.monotonic()
        for _ in range(5000):
            ticker.show("x" * 100)
        assert time.monotonic() - started < 5.0
        ticker.close()
        assert process.poll() is not None
    os.close(ours)
    nowhere = Ticker(io.StringIO())
    nowhere.show("text")
    nowhere.close()
