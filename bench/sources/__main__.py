"""Readers of files: how fast they are beside the bare library, and what mutated files do to them.

    python -m bench.sources html [FOLDER]      pages a second, ours over resiliparse's alone, in one run
    python -m bench.sources pdf [FOLDER]       the same of PDF and pypdfium2
    python -m bench.sources mutate [FORMAT ...] [--count 10000] [--seed 0]

HTML is the documentation of Python, PDF that of TeX Live, R and survival (Debian's packages, which are downloaded into
the cache by apt), or whatever lies in FOLDER.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

from bench.report import main, tell
from bench.sources.samples import formats


def _mutate(arguments: list[str]) -> int:
    from bench.sources.mutate import run

    parser = argparse.ArgumentParser(prog="python -m bench.sources mutate")
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"default: all of {', '.join(formats())}")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    faults = 0
    for name in options.formats or formats():
        begin = time.perf_counter()
        outcome = run(name, options.count, options.seed)
        seconds = time.perf_counter() - begin
        print(
            f"{name:<12} {outcome.tried:,} mutations, {outcome.read:,} gave a document, longest"
            f" {outcome.longest:.2f} s, {len(outcome.faults)} faults, {len(outcome.reasons)} reasons ({seconds:.0f} s)",
            flush=True,
        )
        for fault in outcome.faults[:20]:
            tell(f"  {fault}")
        faults += len(outcome.faults)
    return 1 if faults else 0


def _speed(kind: str, arguments: list[str]) -> int:
    from bench.sources.speed import measure

    folder = Path(arguments.pop(0)) if arguments and not arguments[0].startswith("-") else None
    sys.argv[1:] = arguments
    return main(f"sources {kind}", __doc__ or "", partial(measure, kind, folder))


if __name__ == "__main__":
    command, *rest = sys.argv[1:] or ["--help"]
    if command == "mutate":
        sys.exit(_mutate(rest))
    if command in ("html", "pdf"):
        sys.exit(_speed(command, rest))
    print(__doc__)
    sys.exit(0 if command in ("-h", "--help") else 2)
