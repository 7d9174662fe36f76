"""Files with something wrong in them: bytes flipped, cut, repeated, spliced, and the signs that formats live by.

A member of a zip is changed inside as often as the zip itself, since a checksum would hide all the rest.
"""

from __future__ import annotations

import io
import random
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.sources.samples import Sample, sample

LONGEST = 10.0
"""Seconds that a mutated file may take."""

LIMIT = 10_000_000

_SIGNS = (
    *(
        b"\0",
        b"\xff",
        b"\xfe\xff",
        b"<",
        b">",
        b"&",
        b'"',
        b"'",
        b"{",
        b"}",
        b"[",
        b"]",
        b"(",
        b")",
        b"\n",
        b"\r",
        b"\t",
    ),
    *(b"-", b"-1", b"0", b"4294967296", b"9" * 400, b"1e999", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"<!--", b"]]>"),
    *(b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"&a;", b"%PDF-", b"endobj", b"PK\x03\x04", b"\x1f\x8b", b"---\n", b"```"),
)


@dataclass
class Outcome:
    """What became of the mutations of a format."""

    tried: int = 0
    read: int = 0  # mutations that gave a document
    longest: float = 0.0  # seconds
    reasons: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)  # what must not be


def mutated(data: bytes, random_: random.Random) -> bytes:
    """``data`` with something wrong in it."""
    if data.startswith(b"PK\x03\x04") and random_.random() < 0.6:
        packed = _in_member(data, random_)
        if packed is not None:
            return packed
    for _ in range(random_.choice((1, 1, 1, 2, 4, 16))):
        data = _changed(data, random_)
    return data


def _changed(data: bytes, random_: random.Random) -> bytes:
    place = random_.randrange(len(data) + 1)
    size = min(len(data) - place, int(random_.expovariate(1 / 40)) + 1)
    match random_.randrange(9):
        case 0 if data:  # a bit
            place = min(place, len(data) - 1)
            return data[:place] + bytes([data[place] ^ (1 << random_.randrange(8))]) + data[place + 1 :]
        case 1:
            return data[:place] + random_.randbytes(size) + data[place + size :]
        case 2:
            return data[:place] if random_.random() < 0.5 else data[place:]
        case 3:
            return data[:place] + data[place + size :]
        case 4:  # a piece again, elsewhere
            other = random_.randrange(len(data) + 1)
            return data[:other] + data[place : place + size] + data[other:]
        case 5:
            return data[:place] + data[place : place + size] * random_.choice((2, 10, 300)) + data[place + size :]
        case 6:
            return data[:place] + random_.choice(_SIGNS) + data[place:]
        case 7:
            return data[:place] + random_.choice(_SIGNS) * random_.choice((1, 50, 5000)) + data[place + size :]
        case _:  # two pieces change places
            first, second = sorted((place, random_.randrange(len(data) + 1)))
            end = min(len(data), second + size)
            return data[:first] + data[second:end] + data[first:second] + data[end:]


def _in_member(data: bytes, random_: random.Random) -> bytes | None:
    """A zip one of whose members is mutated, renamed, repeated or left out."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    if not members:
        return None
    chosen = random_.randrange(len(members))
    fate = random_.random()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, (info, content) in enumerate(members):
            name = info.filename
            if number == chosen and fate < 0.05:
                continue
            if number == chosen and fate < 0.1:
                name = mutated(name.encode(), random_).decode("utf-8", "replace")[:200].replace("\0", "") or "x"
            written = mutated(content, random_) if number == chosen and fate >= 0.1 else content
            archive.writestr(zipfile.ZipInfo(name, info.date_time), written, info.compress_type)
    return buffer.getvalue()


def run(name: str, count: int, seed: int = 0) -> Outcome:
    """Read ``count`` mutations of the format ``name``; one of its files is mutated at a time.

    Behind each one the file as it was is read again, and must give what it gave at first.
    """
    outcome = Outcome()
    files = sample(name)
    random_ = random.Random(f"{name} {seed}")
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        good, bad = Path(first), Path(second)
        files.write(good)
        files.write(bad)
        source = files.source(good)
        documents = [result for item in source.manifest() for result in source.read(item, LIMIT)]
        if not any(hasattr(result, "text") for result in documents):
            outcome.faults.append(f"the file itself gives no document: {documents}")
        for number in range(count):
            path, data = random_.choice(sorted(files.files.items()))
            (bad / path).write_bytes(mutated(data, random_))
            _read(files, bad, outcome, number)
            (bad / path).write_bytes(data)
            again = [result for item in source.manifest() for result in source.read(item, LIMIT)]
            if again != documents:
                outcome.faults.append(f"{number}: what is good gives something else afterwards: {again}"[:500])
    return outcome


def _read(files: Sample, folder: Path, outcome: Outcome, number: int) -> None:
    from mnemic.errors import MnemicError

    begin = time.perf_counter()
    outcome.tried += 1
    results: list[Any] = []
    try:
        source = files.source(folder)
        results = [result for item in source.manifest() for result in source.read(item, LIMIT)]
    except MnemicError as error:  # nothing is there that is of the format
        outcome.reasons[str(error)[:60]] += 1
    except Exception as error:
        outcome.faults.append(f"{number}: {type(error).__name__}: {error}"[:500])
    seconds = time.perf_counter() - begin
    outcome.longest = max(outcome.longest, seconds)
    if seconds > LONGEST:
        outcome.faults.append(f"{number}: {seconds:.1f} s")
    outcome.faults.extend(f"{number}: {fault}" for fault in _faults(results))
    outcome.read += any(hasattr(result, "text") for result in results)
    outcome.reasons.update(result.reason[:60] for result in results if hasattr(result, "reason"))


def _faults(results: list[Any]) -> Iterator[str]:
    """What no reader may give."""
    for result in results:
        try:
            str(vars(result)).encode("utf-8")
        except UnicodeEncodeError:
            yield "what cannot be stored as UTF-8"
        if not result.locator:
            yield "a result without a locator"
        if hasattr(result, "text") and (not result.text.strip() or "\0" in result.text):
            yield "a document without text"
        elif hasattr(result, "reason") and (len(result.reason) < 15 or not result.reason.endswith(".")):
            yield f"no reason: {result.reason!r}"
