"""The memories of a release: its list, each one loaded, and the model that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from mnemic.conditions import Where
from mnemic.errors import BankError, MnemicError, ModelError
from mnemic.memories.kinds import Kind, Memory, MemoryInfo, is_known, kind, kinds
from mnemic.memories.trained import stored_rows
from mnemic.view import View, fitting


class StoredMemories:
    """The memories of ``view``, whatever their kinds."""

    def __init__(self, view: View) -> None:
        self.view = view

    @cached_property
    def infos(self) -> tuple[MemoryInfo, ...]:
        """Those of the dataset `memories` first, in its order, then those that are kept elsewhere, by kind.

        Rows of a kind that this mnemic does not know are listed too; loading one raises an error.
        """
        described: dict[str, MemoryInfo] = {}
        with fitting(self.view, "The memories"):
            for one in kinds().values():
                for info in self._described(one):
                    other = described.setdefault(info.name, info)
                    if other is not info:
                        raise ModelError(
                            f"{self.view.path} has a memory {info.name!r} of the kind {other.kind!r} and one of the "
                            f"kind {info.kind!r}; let the package that offers the kind {one.name!r} call its own "
                            "otherwise, or uninstall it."
                        )
        rows = {info.name: described.pop(info.name, info) for info in stored_rows(self.view)}
        return (*rows.values(), *described.values())

    def _described(self, one: Kind) -> list[MemoryInfo]:
        """The memories of a kind; an error of its package that is no sentence becomes one."""
        try:
            infos = list(one.described(self.view))
            if not all(isinstance(info, MemoryInfo) for info in infos):
                raise TypeError("`described` gives values that are no MemoryInfo")
        except (MnemicError, OSError):
            raise
        except Exception as error:
            raise _broken(one.name, f"cannot list the memories of {self.view.path}", error) from error
        return infos

    def info(self, name: str) -> MemoryInfo:
        """The memory called ``name``, without its weights. Raises `BankError` where there is none."""
        by_name = {info.name: info for info in self.infos}
        if not by_name:
            raise BankError(
                f"{self.view.path} has no parametric memory: its recipe names no `language_model`, or its text was too "
                "little for one. `mnemic show` gives the funnel; add a model or more text and build again."
            )
        if name not in by_name:
            raise BankError(f"{self.view.path} has no memory {name!r}. It has: {', '.join(by_name)}.")
        return by_name[name]

    def load(self, name: str) -> Memory:
        """The memory called ``name``. Raises `BankError` where there is none, or none that this mnemic can load."""
        info = self.info(name)
        if not is_known(info.kind):
            raise BankError(
                f"{self.view.path} has a memory of kind {info.kind!r}, which this mnemic does not know; update it, or "
                "install the package that offers the kind."
            )
        try:
            memory = kind(info.kind).load(self.view, info)
            if not (hasattr(memory, "enter") and hasattr(memory, "scores")):
                raise TypeError(f"`load` gives a {type(memory).__name__}, which has no `enter` and `scores`")
        except (MnemicError, OSError):
            raise
        except Exception as error:
            raise _broken(info.kind, f"cannot load the memory {name!r} of {self.view.path}", error) from error
        return memory

    def lock(self, infos: Sequence[MemoryInfo]) -> dict[str, str]:
        """The model that these memories need; empty where any will do. Raises `ModelError` where they need several.

        A memory that belongs to a tokenizer alone needs no model of a certain kind.
        """
        with fitting(self.view, "The memories and their locks"):
            locks = [lock for info in infos if (lock := kind(info.kind).lock(self.view, info))]
        of_models = [lock for lock in locks if set(lock) != {"tokenizer"}]
        tokenizers = {lock["tokenizer"] for lock in locks if "tokenizer" in lock}
        if len({lock.get("weights") for lock in of_models}) > 1 or len(tokenizers) > 1:
            raise ModelError(
                f"The memories {', '.join(info.name for info in infos)} were made for different models; attach those "
                "of one, or build the bank again."
            )
        return {name: value for lock in reversed(locks) for name, value in lock.items()}


def narrowed(memory: Memory, where: Where) -> Memory:
    """``memory`` of documents that satisfy ``where``. Raises `ModelError` for one that was made of all together."""
    if where is None:
        return memory
    narrow = getattr(memory, "where", None)
    if narrow is None:
        raise ModelError(
            f"The memory {memory.info.name} was made of all documents together and cannot be narrowed to some; leave "
            "`where` out, or attach memories that can, such as suffix."
        )
    narrower: Memory = narrow(where)
    return narrower


def _broken(kind: str, fault: str, error: Exception) -> ModelError:
    return ModelError(
        f"The kind of memory {kind!r} {fault} ({type(error).__name__}: {error}). If another package offers it, repair "
        "or uninstall that."
    )
