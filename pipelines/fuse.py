"""One memory of several banks: their union through the ordinary steps, and its memory beside those of the banks.

The union is a bank as `compose` makes it, with the bank of each document; its split has the budgets of all together.
The memory is trained on the union's store from the start that a recipe's training has. It is measured beside the banks'
own memories: each alone, all attached, and their weights averaged where they began alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnemic.bank import Bank, open_bank
from mnemic.difference.banks import opened
from mnemic.errors import ModelError, RecipeError
from mnemic.memories.kinds import Memory, MemoryInfo
from pipelines.compose import bank_names, composition
from pipelines.evaluate.fusion import FusedMemory, fusion
from pipelines.run import BuildResult, build

AVERAGED_KINDS = ("mlp", "decoder")
"""Kinds of memory that are trained on the store, and so on a union."""

_BUDGETS = ("tokens", "held_out_tokens")


@dataclass(frozen=True)
class Fusion:
    """The build of the union, and the numbers of each memory that was trained on it."""

    result: BuildResult
    memories: tuple[FusedMemory, ...]


def fuse(
    banks: Sequence[str | Path], into: str | Path, memories: str | Sequence[str] | None = None, **options: Any
) -> Fusion:
    """Build the bank ``into`` of the documents of ``banks``, and measure its ``memories`` beside theirs.

    By default all that the banks have in common are measured. ``options`` are those of `build`. Called again it carries
    on. Raises ``RecipeError`` where the banks have no memory of one model in common.
    """
    recipe = fused_recipe(banks, into)
    chosen = [memories] if isinstance(memories, str) else memories
    names = common_memories([opened(str(bank)) for bank in banks], chosen)
    result = build(recipe, **options)
    union = open_bank(result.bank, storage_options=options.get("storage_options"))
    return Fusion(result, tuple(measured(union, banks, name) for name in names))


def fused_recipe(banks: Sequence[str | Path], into: str | Path) -> dict[str, Any]:
    """The recipe of the union: as `compose` writes it, with room in its split for the stores of all banks."""
    recipe = composition(banks, into)
    splits = [opened(str(bank)).release.recipe.get("split") for bank in banks]
    stated = [split for split in splits if isinstance(split, Mapping)]
    room = {name: sum(split[name] for split in stated if type(split.get(name)) is int) for name in _BUDGETS}
    return {**recipe, "split": {**recipe.get("split", {}), **room}}


def common_memories(banks: Sequence[Bank], chosen: Sequence[str] | None) -> list[str]:
    """The names of the trained memories that all banks have. Raises ``RecipeError`` where these cannot be compared."""
    trained = [{info.name: info for info in bank.memories() if info.kind in AVERAGED_KINDS} for bank in banks]
    names = [name for name in trained[0] if all(name in infos for infos in trained)] if trained else []
    missing = [name for name in chosen or () if name not in names]
    if missing or not names:
        there = ", ".join(names) or "none"
        raise RecipeError(
            f"The banks have no memory{f' {missing[0]!r}' if missing else ''} in common that is trained on a store "
            f"(they share {there}); build each with a section such as `imitate`, under one name."
        )
    names = [name for name in names if chosen is None or name in chosen]
    for name in names:
        _refuse_others(name, [infos[name] for infos in trained], [bank.path for bank in banks])
    return names


def measured(union: Bank, banks: Sequence[str | Path], name: str) -> FusedMemory:
    """The numbers of a memory of the ``union`` beside those of ``banks``."""
    views = [opened(str(bank)) for bank in banks]
    named = dict(zip(bank_names([view.path for view in views]), views, strict=True))
    apart = began_apart(views, name)
    average = None if apart else average_of([view.memory(name) for view in views])
    return fusion(union, named, name, average, apart)


def average_of(memories: Sequence[Memory]) -> Memory:
    """The memory with the mean weights of ``memories``."""
    from mnemic.memories.average import averaged
    from mnemic.memories.kinds import kind

    first = memories[0]
    mean = averaged([memory.module for memory in memories])
    read = kind(first.info.kind).read  # type: ignore[attr-defined]
    average: Memory = read(first.info, mean.to_bytes())
    return average


def began_apart(banks: Sequence[Bank], name: str) -> str:
    """Why the weights of these memories have no mean; "" where they began alike, and one may be taken."""
    settings = []
    for bank in banks:
        info = next(info for info in bank.memories() if info.name == name)
        fields = bank.view.record(info.owner).get("fields", {})
        settings.append({key: fields.get(key) for key in ("seed", "model", "blocks", "width", "layers", "window")})
    for other in settings[1:]:
        for key, value in settings[0].items():
            if other[key] != value:
                return f"they began apart, with {key} {_short(value)} and {_short(other[key])}"
    return ""


def _refuse_others(name: str, infos: Sequence[MemoryInfo], paths: Sequence[str]) -> None:
    first = infos[0]
    for info, path in zip(infos[1:], paths[1:], strict=True):
        locks = [{key: one.lock.get(key) for key in ("weights", "tokenizer")} for one in (first, info)]
        if locks[0] != locks[1]:
            raise ModelError(
                f"The memory {name} of {path} was made for another language model than that of {paths[0]}, so no one "
                "memory has what both have. Build both banks with one `language_model`."
            )
        if dict(first.config) != dict(info.config) or first.kind != info.kind:
            raise RecipeError(
                f"The memory {name} of {path} reads the model otherwise than that of {paths[0]} "
                f"({_short(dict(info.config))} and {_short(dict(first.config))}); give both banks the same settings of "
                "`datastore` and of its section."
            )


def _short(value: Any) -> str:
    return json.dumps(value, default=str)[:40]
