"""Lines that match are withheld from standard error, whoever writes them; everything else comes through at once."""

import os
import re
import subprocess
import sys
import threading
import time

import pytest

from pipelines.engine.stderr import MOST, withheld

RAY = (re.compile(rb"\[[^\]]{1,80}\] gcs_client\.cc:\d+: "), re.compile(rb"\[(\d|$)"))
WARNING = b"[2026-11-30 08:00:59,521 W 18634 18634] gcs_client.cc:210: Failed: InvalidAuthToken\n"


def test_what_matches_is_withheld_and_the_rest_passes(capfd: pytest.CaptureFixture[str]) -> None:
    with withheld(*RAY) as passing:
        os.write(2, b"before\n" + WARNING)
        os.write(2, b"a line of Python\n")
        os.write(2, WARNING[:30])
        os.write(2, WARNING[30:] + b"[1 of 2] a line of ours\n[x")
    os.write(2, b"] after\n")
    assert capfd.readouterr().err == "before\na line of Python\n[1 of 2] a line of ours\n[x] after\n"
    assert passing.lines == [WARNING.decode().rstrip()] * 2


def test_a_live_line_is_not_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    with withheld(*RAY):
        os.write(2, b"\r\x1b[2Kembed 1 of 2")
        deadline, text = time.monotonic() + 10, ""
        while not text and time.monotonic() < deadline:
            text = capfd.readouterr().err
        assert text == "\r\x1b[2Kembed 1 of 2"


def test_lines_of_another_library_are_waited_for_by_their_own_beginning(capfd: pytest.CaptureFixture[str]) -> None:
    with withheld(re.compile(rb"WARNING: .*slow"), re.compile(rb"W")) as passing:
        for part in (b"WARNING: it ", b"is slow\n", b"WARNING: it ", b"is fast\n", b"[1 of", b" 2]\n"):
            os.write(2, part)
            time.sleep(0.05)
    assert capfd.readouterr().err == "WARNING: it is fast\n[1 of 2]\n"
    assert passing.lines == ["WARNING: it is slow"]


def test_thousands_of_lines_block_nobody_and_a_few_are_remembered(capfd: pytest.CaptureFixture[str]) -> None:
    with withheld(*RAY) as passing:
        writers = [threading.Thread(target=lambda: [os.write(2, WARNING) for _ in range(2000)]) for _ in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
    assert capfd.readouterr().err == "" and len(passing.lines) == MOST


def test_an_error_passes_and_a_child_that_lives_on_holds_nobody_up(capfd: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match="once"), withheld(*RAY):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        raise ValueError("once")
    try:
        assert time.monotonic() - started < 30
        os.write(2, WARNING)
        assert capfd.readouterr().err == WARNING.decode(), "after the block nothing is withheld"
    finally:
        child.communicate(b"\n", timeout=60)
