"""The floors above this one, `operators`, `pipelines` and `flows`, loaded by name when somebody asks for them.

mnemic itself imports none of them, so a reader of banks needs none of their packages. `load_floor` loads one of their
modules for the commands and for the names that `mnemic` offers in Python, and explains a failure the same way to both:
an extra is not installed, or a user's own folder `pipelines/`, `operators/` or `flows/` hides ours, which are common
names for folders of those who build pipelines.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from mnemic.errors import MissingExtra

HOME = Path(__file__).resolve().parents[1]
"""Where the four folders of the house stand side by side, in a checkout as in an installed package."""

FLOORS = ("operators", "pipelines", "flows")


def load_floor(module: str, asking: str) -> ModuleType:
    """A module of mnemic by its full name; ``asking`` is what needs it, as a sentence names it.

    Raises ``MissingExtra`` where its packages are not installed, or another folder of the same name hides it.
    """
    package = module.partition(".")[0]
    try:
        loaded = import_module(module)
    except Exception as error:
        for name in (module, *_involved(error)):
            _refuse_hidden(name.partition(".")[0], error)
        if isinstance(error, ModuleNotFoundError):
            way_out = "Install it with `pip install 'mnemic[pipeline]'`."
            raise MissingExtra(f"{asking} needs {error.name}, which is not installed. {way_out}") from error
        raise
    if not str(getattr(loaded, "__file__", HOME)).startswith(str(HOME)):
        _refuse_hidden(package, None)
    return loaded


def _involved(error: Exception) -> list[str]:
    """The modules that an import failed in, and the one that it did not find."""
    names = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [*names, error.name] if isinstance(error, ImportError) and error.name else names


def _refuse_hidden(package: str, error: Exception | None) -> None:
    place = hiding(package)
    if place is not None:
        raise MissingExtra(
            f"{place} hides mnemic's own package of the name {package!r}. Start Python from another folder, or rename "
            "that one."
        ) from error


def hiding(package: str) -> Path | None:
    """The folder or file that Python takes for ``package`` in place of ours; None where it takes ours, or another's."""
    if package not in FLOORS or not (HOME / package).is_dir():
        return None
    try:
        spec = sys.modules[package].__spec__ if package in sys.modules else find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or []) or [spec.origin or ""]
    place = Path(places[0]).resolve()
    return None if place in (HOME / package, Path()) else place


def lazily(module: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of ``module``, whose names are loaded from ``homes`` when they are first used."""

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(load_floor(homes[name], f"{module}.{name}"), name)

    return get, lambda: sorted(homes)
