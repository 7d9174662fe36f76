"""mnemic: versioned memory that language models can load.

    import mnemic
    bank = mnemic.open_bank("memory/python-environment")
    events = bank.search("how do I tag a dataset version?", words=500)
    lm = bank.attach(model)

Importing mnemic loads neither torch nor lance; they come with the first name that needs them. `build`, `plan`,
`evaluate`, `Recipe` and `load_recipe` need the extra `mnemic[pipeline]`. `mnemic.segment` cuts streams,
`mnemic.contracts` holds the contracts for sources, operators, memories and commands of other packages. The types of all
names stand in `__init__.pyi`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _installed_version
from typing import Any

from mnemic.errors import MnemicError
from mnemic.floors import lazily as _lazily

__all__ = [
    "Bank",
    "Hit",
    "Memory",
    "MemoryInfo",
    "MnemicError",
    "Recipe",
    "Release",
    "Results",
    "__version__",
    "build",
    "compact",
    "compose",
    "contracts",
    "copy",
    "diff",
    "evaluate",
    "fuse",
    "load_recipe",
    "open_bank",
    "pack",
    "plan",
    "prune",
    "readmit",
    "remove",
    "rollback",
    "segment",
    "unpack",
]

try:
    __version__ = _installed_version("mnemic")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0"

_load, _ = _lazily(
    "mnemic",
    {
        **dict.fromkeys(("Bank", "open_bank"), "mnemic.bank"),
        **dict.fromkeys(("Hit", "Results"), "mnemic.search.results"),
        **dict.fromkeys(("Memory", "MemoryInfo"), "mnemic.memories.kinds"),
        "Release": "mnemic.release",
        "diff": "mnemic.difference",
        **dict.fromkeys(("copy", "pack", "unpack"), "mnemic.copies"),
        **dict.fromkeys(("Recipe", "build", "evaluate", "load_recipe", "plan"), "pipelines.api"),
        **dict.fromkeys(("compact", "compose", "fuse", "prune", "readmit", "remove", "rollback"), "pipelines.api"),
    },
)


def __getattr__(name: str) -> Any:
    if name in ("contracts", "segment"):
        return import_module(f"mnemic.{name}")
    return _load(name)


def __dir__() -> list[str]:
    return sorted(__all__)
