"""What other packages add to mnemic, by entry points of four groups.

    [project.entry-points."mnemic.sources"]      a source, by its `kind` in a recipe
    [project.entry-points."mnemic.operators"]    a section of the recipe, with its operator and its step
    [project.entry-points."mnemic.memories"]     a kind of memory
    [project.entry-points."mnemic.commands"]     a subcommand of `mnemic`

docs/extending.md shows one of each. `mnemic doctor` lists those that are installed, and why one does not load.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mnemic.errors import PluginError

GROUPS = {
    "mnemic.sources": ("version", "model_validate", "identity", "manifest", "read"),
    "mnemic.operators": ("name", "operator", "step"),
    "mnemic.memories": ("name", "title", "described", "load", "lock"),
    "mnemic.commands": ("SUMMARY", "EXAMPLES", "add_arguments", "run"),
}
"""The attributes that the object of an entry point must have, by group."""


@dataclass(frozen=True)
class Plugin:
    """An entry point of another package: ``name`` is how users say it, ``package`` and ``version`` who offers it."""

    group: str
    name: str
    package: str
    version: str
    entry: EntryPoint = field(repr=False, compare=False)

    @property
    def kind(self) -> str:
        """ "source", "operator", "memory" or "command"."""
        return {"mnemic.memories": "memory"}.get(self.group, self.group.removeprefix("mnemic.").removesuffix("s"))

    def load(self) -> Any:
        """The object. Raises ``PluginError`` where it cannot be imported, or lacks what its group asks for."""
        title = f"The {self.kind} '{self.name}' of {self.package} {self.version}"
        try:
            loaded = load_entry(self.entry)
        except Exception as error:
            raise PluginError(
                f"{title} cannot be loaded from {self.entry.value} ({type(error).__name__}: {error}). Repair or "
                "uninstall that package."
            ) from error
        missing = [member for member in GROUPS[self.group] if not hasattr(loaded, member)]
        if missing:
            raise PluginError(
                f"{title} ({self.entry.value}) lacks {', '.join(missing)}. docs/extending.md of mnemic says what a "
                f"{self.kind} must have; update or uninstall that package."
            )
        return loaded


def load_address(address: str) -> Any:
    """The object at "package.module:name", which is imported now."""
    module, _, name = address.partition(":")
    return getattr(import_module(module), name)


def load_entry(entry: EntryPoint) -> Any:
    """The object of an entry point, by an import that neither ends this process nor writes into its output.

    What the package prints goes to standard error. Raises whatever the import raises; ``ImportError`` where it exits.
    """
    with contextlib.redirect_stdout(sys.stderr):
        try:
            return entry.load()
        except SystemExit as error:
            raise ImportError(f"it ends the process with {error.code!r}") from error


def entries(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of one of the `GROUPS`, of all packages on the path."""
    return _entries(tuple(sys.path))[group]


@functools.cache
def _entries(path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """Those of each group: finding them reads a file of every installed package, so it is done once for a path."""
    everything = entry_points()
    return {group: tuple(everything.select(group=group)) for group in GROUPS}


def plugins(group: str) -> list[Plugin]:
    """What other packages offer in a group, by name. The entry points of mnemic itself are not among them."""
    offered = [
        Plugin(group, entry.name, entry.dist.name, entry.dist.version, entry)
        for entry in entries(group)
        if entry.dist is not None and entry.dist.name.lower() != "mnemic"
    ]
    return sorted(offered, key=lambda plugin: (plugin.name, plugin.package))


def find_plugin(group: str, name: str) -> Plugin | None:
    """What is offered under ``name``, or None. Raises ``PluginError`` where two packages offer it."""
    offered = [plugin for plugin in plugins(group) if plugin.name == name]
    if len(offered) > 1:
        packages = " and ".join(plugin.package for plugin in offered)
        raise PluginError(f"Both {packages} offer a {offered[0].kind} '{name}'. Uninstall one of them.")
    return offered[0] if offered else None
