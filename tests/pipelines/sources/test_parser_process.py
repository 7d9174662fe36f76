"""A parser in a process of its own: whatever a file does there, it is a sentence here, and the next file is read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.sources.parsers import process
from pipelines.sources.parsers.process import Part, Unparsed, parse_apart

MODULE = "hostile_parser"
PARSER = """
import os, signal, sys
from pipelines.sources.parsers.process import Unparsed
served = 0

def parts(data, settings):
    global served
    served += 1
    word, _, rest = data.decode().partition(" ")
    if word == "echo":
        print("noise on standard output")
        yield {"served": served, "pid": os.getpid(), **settings}, rest
    elif word == "many":
        for number in range(int(rest)):
            yield {"number": number}, "x" * 100_000
    elif word == "late":
        yield {"number": 0}, "first"
        if served > 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        yield {"number": 1}, "second"
    elif word == "crash":
        yield {"number": 0}, "first"
        os.kill(os.getpid(), signal.SIGSEGV)
    elif word == "hang":
        while True:
            pass
    elif word == "memory":
        yield {}, str(len([bytes(100 << 20) for _ in range(100)]))  # which nothing touches
    elif word == "deep":
        parts.deep = lambda: parts.deep()
        parts.deep()
    elif word == "write":
        with open(rest, "w") as file:
            file.write("x" * 10)
            file.flush()
    elif word == "surrogate":
        yield {}, "\\ud800"
    elif word == "reason":
        raise Unparsed("It is not to be parsed.")
    else:
        raise ValueError("unknown\\nword")
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / f"{MODULE}.py").write_text(PARSER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for parser in process.idle():
        parser.close()
    process._FREE.clear()


def parse(text: str, **settings: object) -> list[Part]:
    return list(parse_apart(MODULE, text.encode(), settings))


def reason(text: str) -> str:
    with pytest.raises(Unparsed) as error:
        parse(text)
    return str(error.value)


def test_one_process_takes_many_files() -> None:
    answers = [parse(f"echo {number}", color="red")[0] for number in range(5)]
    assert [text for _, text in answers] == list("01234")
    assert [stated["served"] for stated, _ in answers] == [1, 2, 3, 4, 5]
    assert len({stated["pid"] for stated, _ in answers}) == 1
    assert answers[0][0]["pid"] != os.getpid() and answers[0][0]["color"] == "red"


def test_a_parser_of_a_large_process_takes_many_files_too() -> None:
    """A process begins with the peak of the one that started it, which says nothing about its own memory."""
    large = b"x" * (process.RESIDENT + (64 << 20))
    assert [parse("echo again")[0][0]["served"] for _ in range(3)] == [1, 2, 3]
    assert large


def test_parts_larger_than_a_pipe_come_whole() -> None:
    parts = parse("many 50")
    assert [stated["number"] for stated, _ in parts] == list(range(50))
    assert {len(text) for _, text in parts} == {100_000}
    assert parse("echo " + "y" * 3_000_000)[0][1] == "y" * 3_000_000


def test_two_files_at_the_same_time_have_two_processes() -> None:
    first, second = parse_apart(MODULE, b"many 3", {}), parse_apart(MODULE, b"many 3", {})
    assert [(a[0]["number"], b[0]["number"]) for a, b in zip(first, second, strict=True)] == [(0, 0), (1, 1), (2, 2)]


def test_a_reading_that_is_given_up_leaves_no_answer_behind() -> None:
    reading = parse_apart(MODULE, b"many 1000", {})
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert parse("echo next")[0][1] == "next"


def test_a_crash_is_a_sentence_and_the_next_file_is_read() -> None:
    assert parse("echo before")
    assert "signal 11" in reason("crash")
    assert parse("echo after")[0][1] == "after"


def test_a_file_that_ends_a_used_process_is_tried_once_more_in_a_fresh_one() -> None:
    parse("echo before")
    assert [text for _, text in parse("late")] == ["first", "second"]


def test_a_file_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SECONDS", 0.3)
    assert "processor time" in reason("hang")
    assert parse("echo after")[0][1] == "after"


def test_a_file_that_fills_the_memory_is_given_up() -> None:
    assert "2 GB of memory" in reason("memory")
    assert parse("echo after")[0][1] == "after"


def test_faults_of_parsers_are_sentences() -> None:
    assert reason("deep") == "The file is nested too deeply; save it anew with simpler contents."
    assert reason("reason") == "It is not to be parsed."
    assert "ValueError: unknown word" in reason("other")
    served = parse("echo after")[0][0]["served"]
    assert served == 4, "a parser that answered is used again"


def test_a_parser_cannot_write(tmp_path: Path) -> None:
    target = tmp_path / "written"
    with pytest.raises(Unparsed):
        parse(f"write {target}")
    assert not target.exists() or not target.read_bytes()


def test_half_a_character_comes_as_it_is() -> None:
    assert parse("surrogate")[0][1] == "\ud800"


def test_a_parser_ends_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import sys, json; sys.path[:] = json.loads(sys.argv[1])\n"
        "from pipelines.sources.parsers.process import parse_apart\n"
        f"print(next(iter(parse_apart({MODULE!r}, b'echo x', {{}})))[0]['pid'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(sys.path)], capture_output=True, text=True, check=True
    )
    for _ in range(100):
        try:
            os.kill(int(done.stdout), 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the parser outlived its parent")


def test_a_parser_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pipelines.sources.parsers import html, pdf, docx, pptx, xlsx, epub, process\n"
        "print(sorted({'torch', 'numpy', 'lance', 'pyarrow', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_open_file_is_handed_over_and_stays_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"echo " + b"z" * 500_000 + b"more")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with path.open("rb") as file:
        file.read(3)
        for _ in range(3):
            ((stated, text),) = parse_apart(MODULE, process.OpenFile(file.fileno(), 500_005), {})
            assert text == "z" * 500_000
        assert file.tell() == 3 and stated["served"] == 3
        short = process.OpenFile(file.fileno(), 10**6)  # it was cut off meanwhile
        assert next(parse_apart(MODULE, short, {}))[1].endswith("more")
    for parser in process.idle():
        parser.close()
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before
