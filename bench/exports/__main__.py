"""Write an export of a size, read it, and print messages a second and the growth of memory."""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from pipelines.sources.contracts import Document
from pipelines.sources.kinds import find_source

FORMATS = {
    "mbox": ("mail", "a.mbox"),
    "chatgpt": ("chatgpt", "conversations.json"),
    "telegram": ("telegram", "result.json"),
    "whatsapp": ("whatsapp", "chat.txt"),
}
BEGIN = 1_772_443_812


def texts(words: int) -> Iterator[str]:
    draw = random.Random(1)
    vocabulary = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randrange(2, 10))) for _ in range(5_000)]
    while True:
        lines = (" ".join(draw.choices(vocabulary, k=12)) for _ in range(max(1, words // 12)))
        yield "\n".join(lines)


def write_mbox(file: TextIO, size: int, words: int) -> None:
    """Threads of nine letters, each of which answers the one before and quotes three lines of it."""
    for number, text in enumerate(texts(words)):
        if file.tell() >= size:
            return
        answered = f"References: <{number - 1}@example.org>\n" if number % 9 else ""
        quoted = "On Mon, 2 Mar 2026 at 10:30, Bob <bob@example.org> wrote:\n> a\n> b\n> c\n\n" if answered else ""
        stamp = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(BEGIN + number))
        file.write("From ada@example.org Mon Mar  2 10:30:12 2026\n")
        file.write(
            f"From: Ada <ada@example.org>\nSubject: Bread {number // 9}\n"
            f"Message-ID: <{number}@example.org>\n{answered}Date: {stamp}\nContent-Type: text/plain; charset=utf-8\n\n"
            f"{quoted}{text}\n\n-- \nAda\n\n"
        )


def write_chatgpt(file: TextIO, size: int, words: int) -> None:
    passages = texts(words)
    for number in range(size):
        file.write("[" if number == 0 else ",")
        nodes: dict[str, Any] = {}
        for n in range(20):
            message = {"author": {"role": "user" if n % 2 else "assistant"}, "create_time": float(BEGIN + n)}
            content = {"content_type": "text", "parts": [next(passages)]}
            message |= {"content": content, "metadata": {}, "recipient": "all"}
            nodes[f"n{n}"] = {"id": f"n{n}", "message": message, "parent": f"n{n - 1}" if n else None, "children": []}
        file.write(json.dumps({"title": f"Talk {number}", "mapping": nodes, "current_node": "n19", "id": f"t{number}"}))
        if file.tell() >= size:
            break
    file.write("]")


def write_telegram(file: TextIO, size: int, words: int) -> None:
    file.write('{"name": "Ada", "type": "personal_chat", "id": 1, "messages": [')
    for number, text in enumerate(texts(words)):
        record = {"id": number + 1, "type": "message", "date_unixtime": str(BEGIN + 97 * number), "from": "Ada"}
        file.write(("," if number else "") + json.dumps({**record, "text": text}))
        if file.tell() >= size:
            break
    file.write("]}")


def write_whatsapp(file: TextIO, size: int, words: int) -> None:
    for number, text in enumerate(texts(words)):
        stamp = time.strftime("%d/%m/%y, %H:%M:%S", time.gmtime(BEGIN + 5_300 * number))
        file.write(f"[{stamp}] Ada: {text}\n")
        if file.tell() >= size:
            break


WRITERS = {"mbox": write_mbox, "chatgpt": write_chatgpt, "telegram": write_telegram, "whatsapp": write_whatsapp}


def read(form: str, folder: str) -> None:
    """Print what reading the export took, as JSON."""
    kind, name = FORMATS[form]
    source: Any = find_source(kind)
    source = source.model_validate({"kind": kind, "path": name, "root": folder})
    (item,) = source.manifest()
    before = resource.getrusage(resource.RUSAGE_SELF)
    started, turns, rejects = time.monotonic(), 0, 0
    for entry in source.read(item, 10_000_000):
        turns += len(entry.turns) if isinstance(entry, Document) else 0
        rejects += not isinstance(entry, Document)
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    growth = (after.ru_maxrss - before.ru_maxrss) / 1024
    print(
        json.dumps(
            {
                "format": form,
                "megabytes": round(item.size / 1e6, 1),
                "messages": turns,
                "rejects": rejects,
                "cpu_seconds": round(seconds, 2),
                "wall_seconds": round(time.monotonic() - started, 2),
                "messages_per_cpu_second": round(turns / seconds),
                "megabytes_per_cpu_second": round(item.size / 1e6 / seconds, 1),
                "growth_megabytes": round(growth, 1),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=FORMATS, action="append", help="default: all")
    parser.add_argument("--megabytes", type=float, default=100.0)
    parser.add_argument("--words", type=int, default=240, help="of a message")
    parser.add_argument("--read", metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        read(arguments.format[0], arguments.read)
        return
    for form in arguments.format or FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            with (Path(folder) / FORMATS[form][1]).open("w") as file:
                WRITERS[form](file, int(arguments.megabytes * 1e6), arguments.words)
            subprocess.run([sys.executable, "-m", "bench.exports", "--format", form, "--read", folder], check=True)


if __name__ == "__main__":
    main()
