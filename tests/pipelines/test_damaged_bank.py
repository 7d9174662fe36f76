"""Banks damaged at random: every command and every method ends with a result or a sentence."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent.parent
GRACE = 240.0
"""Seconds beyond its own after which a use is taken to hang: the machine may be busy."""


def run(recipe, folder, seconds, *words):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    paths = os.pathsep.join([str(HERE), str(HERE / "tests" / "fixtures")])
    command = [sys.executable, "-m", "damaged_bank", json.dumps(recipe), str(folder), str(seed), str(seconds), *words]
    log = folder / "log"
    with log.open("w") as file:
        ended = subprocess.run(
            command,
            stdout=file,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
            timeout=seconds + GRACE,
            check=False,
        )
    lines = log.read_text().splitlines()
    first = next((place for place, line in enumerate(lines) if line.startswith("FAULT")), max(0, len(lines) - 40))
    message = "\n".join([f"seed {seed}, exit code {ended.returncode}", *lines[first : first + 40], lines[-1]])
    assert ended.returncode == 0, message
    assert lines[-1].endswith(" 0 faults") and any(line.startswith("case") for line in lines)


@pytest.mark.slow
def test_damaged_banks_are_told(tiny, tmp_path):
    run(tiny.recipe, tmp_path, 5)


def test_damaged_banks_are_told_by_builds_too(tiny, tmp_path):
    run(tiny.recipe, tmp_path, 4, "--build")


@pytest.mark.slow
def test_many_damaged_banks_are_told(tiny, tmp_path):
    run(tiny.recipe, tmp_path, 600, "--build")
