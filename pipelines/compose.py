"""A bank of the documents of several others: their union through the ordinary steps, with the bank of each document.

The settings are those of the first bank, as its release has them. Equal and near-equal documents are judged across the
banks as inside one, everything else follows from the documents that stay. `bank` and `origin` are columns of
documents, units and events, for conditions and in results: the bank that a document is of, and its source there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnemic.bank import Bank
from mnemic.difference.banks import opened
from mnemic.errors import RecipeError
from mnemic.metadata import MARK, metadata_fields
from mnemic.release import Release
from operators.sections import Section
from pipelines.run import BuildResult, build
from pipelines.sections import sections
from pipelines.sources.bank import BANK, ORIGIN


def compose(banks: Sequence[str | Path], into: str | Path, **options: Any) -> BuildResult:
    """Build the bank ``into`` of the documents of ``banks``, each ``BANK`` or ``BANK@RELEASE``.

    ``options`` are those of `build`. Called again it carries on, and takes what is new in the banks. Raises
    ``RecipeError`` where the banks cannot be one.
    """
    return build(composition(banks, into), **options)


def composition(banks: Sequence[str | Path], into: str | Path) -> dict[str, Any]:
    """The recipe of that bank."""
    places = [str(bank) for bank in banks]
    if len(places) < 2:
        raise RecipeError("A bank is composed of two or more others; name them, or copy the one with `mnemic copy`.")
    views = [opened(place) for place in places]
    if any(_same_place(view.path, str(into)) for view in views):
        raise RecipeError(f"{into} is one of the banks that are composed; give `into` another place.")
    names = bank_names([view.path for view in views])
    sources = [
        {
            "kind": "bank",
            "name": name,
            "path": view.path if "://" in view.path else os.path.abspath(view.path),
            **({"release": view.release.name} if "@" in place and not os.path.isdir(place) else {}),
            "columns": {**_columns(view), BANK: "text", ORIGIN: "text"},
        }
        for name, view, place in zip(names, views, places, strict=True)
    ]
    name = "".join(one if one.isalnum() or one in "._-" else "-" for one in os.path.basename(str(into).rstrip("/")))
    return {
        **settings_of(views[0].release),
        "name": name.lstrip("._-") or "bank",
        "bank": str(into),
        "sources": sources,
    }


def settings_of(release: Release) -> dict[str, Any]:
    """The settings of a release as a recipe is written: without those that a section takes from another."""
    before = release.recipe
    general = ("max_document_bytes", "fragment_characters", "max_rejects", "language_model")
    recipe = {name: before[name] for name in general if before.get(name) is not None}
    for section in sections():
        settings = before.get(section.name)
        if isinstance(settings, Mapping):
            recipe[section.name] = {name: value for name, value in settings.items() if name not in section.shared}
        elif section.name in before and _runs_unnamed(section, before):
            recipe[section.name] = False
    return recipe


def _runs_unnamed(section: Section, before: Mapping[str, Any]) -> bool:
    return bool(before.get(section.on)) if isinstance(section.on, str) else section.on


def _same_place(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/") or os.path.abspath(one) == os.path.abspath(os.path.expanduser(other))


def bank_names(paths: Sequence[str]) -> list[str]:
    """A name for each bank: of its folder, with a number where others are called so too."""
    names: list[str] = []
    for path in paths:
        name = stem = os.path.basename(path.rstrip("/")) or "bank"
        number = 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names


def _columns(bank: Bank) -> dict[str, str]:
    """The metadata columns of a bank's documents, with their types."""
    fields = metadata_fields(bank.dataset("documents").schema)
    return {field.name: field.metadata[MARK].decode() for field in fields if field.name not in (BANK, ORIGIN)}
