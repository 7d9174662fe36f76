"""Peak memory of a build on input that was made to exhaust it: legal files, each as bad as the limits allow.

Every step of a case, as far as segmentation, runs inline in a process of its own, with an encoder of 384 components as
the default has. So that process is driver and worker at once, and with Python, numba, Arrow and Lance it holds
200 to 400 MiB before there is any data; torch, which the encoder needs, takes 150 more. The peak is the largest
resident set by the kernel's account (`resource.getrusage`), of the step that has the most.

Expected on machine C of LOG.md (2 cores of an Intel Xeon), in MiB: sentences 864, letters 704, rejects 636, turns 948,
word 666, without_end 692, newlines 636, marks 656, all in segment or embed.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.report import Row, main, tell
from bench.tiny_models import save_encoder

MOST = 1024.0
"""MiB that a worker may take."""

STEPS = ("read", "signature", "deduplicate", "units", "embed", "segment")

LIMIT = 10_000_000
"""Bytes of a document."""


def _letters(count: int) -> str:
    drawn = random.Random(3)
    body = "Please keep this letter until the parcel has arrived, and write to us at the address below if it has not. "
    letters = (f"Dear customer {n}, order {drawn.randrange(10**7)} left. {body * 3}" for n in range(count))
    return "".join(json.dumps({"text": letter}) + "\n" for letter in letters)


def _turns(count: int) -> str:
    turns = [{"speaker": "AB"[n % 2], "text": f"Yes, {n}."} for n in range(count)]
    return json.dumps({"conversation": "talk", "id": "long", "turns": turns})


CASES: dict[str, tuple[str, Callable[[int], str]]] = {
    "sentences": ("a.txt", lambda part: "Ab. " * (LIMIT // 4 // part)),
    "letters": ("a.jsonl", lambda part: _letters(12_000 // part)),
    "rejects": ("a.jsonl", lambda part: '{"text": 5}\n' * (200_000 // part) + '{"text": "A good one."}\n'),
    "turns": ("a.json", lambda part: _turns(100_000 // part)),
    "word": ("a.txt", lambda part: "a" * (LIMIT // part)),
    "without_end": ("a.txt", lambda part: "and so on it goes " * (LIMIT // 18 // part)),
    "newlines": ("a.txt", lambda part: "\n" * (LIMIT // part - 1) + "a"),
    "marks": ("a.txt", lambda part: "a" + "\u0316\u0301" * (LIMIT // 4 // part - 1)),
}
"""The name of a file, and its content; ``part`` divides the size."""


def measure(quick: bool) -> Sequence[Row]:
    rows = []
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            recipe = json.dumps(_recipe(name, Path(folder), 10 if quick else 1))
            peaks = {step: _peak(name, step, recipe) for step in STEPS}
        step = max(STEPS, key=lambda one: peaks[one])
        tell(f"{name}: " + ", ".join(f"{one} {peak:.0f}" for one, peak in peaks.items()) + " MiB")
        what = f"peak of a build of {name}, in {step}"
        rows.append(Row(f"peak_{name}", what, peaks[step], "MiB", MOST, higher_is_better=False))
    return rows


def _recipe(name: str, folder: Path, part: int) -> dict[str, Any]:
    """The recipe of a case, whose files are written into ``folder``."""
    source, encoder = folder / "source", folder / "encoder"
    source.mkdir()
    save_encoder(encoder, width=384)
    file, content = CASES[name]
    (source / file).write_text(content(part), encoding="utf-8")
    (source / "b.txt").write_text("A small one. It is read.", encoding="utf-8")
    kinds: dict[str, Any] = {"kind": "conversations" if file.endswith(".json") else "folder"}
    return {
        "name": name,
        "bank": str(folder / "bank"),
        "max_rejects": 1,
        "sources": [{**kinds, "path": str(source)}],
        "embed": {"model": str(encoder), "dtype": "float32"},
    }


def _peak(name: str, step: str, recipe: str) -> float:
    """MiB of a process that builds up to a step, those before it being done."""
    command = [sys.executable, "-m", "bench.peak", "--step", step, recipe]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        tell(ended.stderr)
        raise SystemExit(f"The step {step} of the case {name} failed; its last lines stand above.")
    return float(ended.stdout.split()[-1])


def build_step(step: str, recipe: dict[str, Any]) -> float:
    """Build up to ``step`` in this process; returns its peak so far in MiB."""
    warnings.filterwarnings("ignore")
    from pipelines.run import build

    build(recipe, engine="inline", until=step)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(build_step(sys.argv[2], json.loads(sys.argv[3])))
    else:
        raise SystemExit(main("peak", __doc__ or "", measure))
