"""Small random models that the tests make too, saved by a process of their own, so that making them costs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import bench


def save_encoder(folder: Path, width: int) -> str:
    """An encoder of ``width`` components; returns its address."""
    return _save(f"tiny_encoder.save_tiny_encoder(pathlib.Path(sys.argv[1]), width={width})", folder)


def save_language_model(folder: Path) -> str:
    """A language model of 4 blocks of width 32; returns its address."""
    return _save("tiny_models.save_tiny_model(pathlib.Path(sys.argv[1]))", folder)


def _save(call: str, folder: Path) -> str:
    fixtures = Path(bench.__path__[0]).parent / "tests" / "fixtures"
    command = [sys.executable, "-c", f"import pathlib, sys, {call.partition('.')[0]}; {call}", str(folder)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(fixtures)})
    return str(folder)
