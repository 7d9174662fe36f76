"""Tiny files of every format that is read, by which readers are tried.

A module of `MODULES` has ``SAMPLES``: format -> (kind of its source, path below the source's folder -> a function that
makes the file's bytes). Settings of the source, where it needs any, stand third.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

MODULES = ("bench.sources.document_files", "bench.sources.record_files", "bench.sources.talk_files")


@dataclass(frozen=True)
class Sample:
    """The files of a format, and the source that reads them."""

    kind: str
    files: Mapping[str, bytes]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def source(self, folder: Path) -> Any:
        """The source of ``folder``."""
        from pipelines.sources.kinds import find_source

        make: Callable[..., Any] = find_source(self.kind)
        return make(path=str(folder), **self.settings)


def formats() -> list[str]:
    return [name for module in MODULES for name in import_module(module).SAMPLES]


def sample(name: str) -> Sample:
    """The files of the format ``name``. Raises `KeyError`."""
    for module in MODULES:
        samples = import_module(module).SAMPLES
        if name in samples:
            kind, files, *settings = samples[name]
            return Sample(kind, {path: make() for path, make in files.items()}, *settings)
    raise KeyError(name)
