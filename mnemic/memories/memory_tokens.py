"""The kind of memory "memory_tokens": vectors from which the model itself writes a text back, token by token.

A prompt searches the bank. The best texts that have exact vectors are rebuilt by greedy decoding, checked against their
hash, and stand before the prompt in `generate` (Kuratov et al., arXiv 2502.13063, feed the vectors themselves).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemic import languagemodel
from mnemic.attach.entry import Entry
from mnemic.conditions import Where
from mnemic.errors import BankError, ModelError, QueryError
from mnemic.facts import ADVICE
from mnemic.ids import hash_bytes
from mnemic.latents.datasets import LATENT_LEVELS
from mnemic.latents.finding import LatentFinder
from mnemic.latents.rebuild import decoded, hash_of_ids
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import Memory, MemoryInfo, before_prompt
from mnemic.memories.reopened import Reopened
from mnemic.memories.shapes import is_count
from mnemic.memories.trained import StoredKind
from mnemic.terminal import one_line
from mnemic.view import View, fitting

if TYPE_CHECKING:
    import torch

    from mnemic.attach.host import Host
    from mnemic.attach.output.schedules import Schedule

NAME = "memory_tokens"
"""Of the kind, of its memory and of its dataset: a bank has one."""

BEST = 2
"""Texts that stand before a prompt."""

_LONGEST = 1 << 16


class MemoryTokensKind(StoredKind):
    """A release has one such memory where its recipe has `memory_tokens`."""

    name, title = NAME, "memory tokens"
    narrows = True

    def load(self, view: View, info: MemoryInfo) -> Memory:
        return StoredMemoryTokens(view, info)


MEMORY_TOKENS = MemoryTokensKind()


@dataclass(frozen=True)
class StoredMemoryTokens(Reopened):
    """The memory tokens of one release. ``conditions`` narrow the search, ``number`` are the texts that it gives."""

    view: View
    info: MemoryInfo
    conditions: Where = None
    number: int = BEST
    inside = True
    shared = ("module",)

    def __deepcopy__(self, memo: dict[int, Any]) -> StoredMemoryTokens:
        return self

    @cached_property
    def module(self) -> dict[str, dict[str, Any]]:
        """By id of its text, each row that is exact, without its vectors; ``place`` is where it stands."""
        with fitting(self.view, "The memory tokens"):
            names = ["of", "exact", "tokens", "vectors", "ids", "check"]
            rows = self.view.dataset(NAME).table(names).to_pylist()
            exact = {row["of"]: {**row, "place": place} for place, row in enumerate(rows) if row["exact"]}
            if any(not 1 <= row["tokens"] <= _LONGEST or not is_count(row["vectors"]) for row in exact.values()):
                raise BankError(f"The memory tokens of {self.view.path} have no sizes that can be. {ADVICE}")
        return exact

    @cached_property
    def begin(self) -> int:
        """The token that vectors stand behind."""
        begin = self.info.config.get("begin")
        if isinstance(begin, bool) or not isinstance(begin, int) or begin < 0:
            raise ModelError(f"The memory {self.info.name} begins with the token {begin!r:.20}. {ADVICE}")
        return begin

    @cached_property
    def finder(self) -> LatentFinder:
        level = self.info.config.get("level")
        if level not in LATENT_LEVELS:
            raise ModelError(f"The memory {self.info.name} has texts of the level {level!r:.40}. {ADVICE}")
        return LatentFinder(self.view, level, sorted(self.module), self.conditions, self.number)

    def where(self, conditions: Where) -> StoredMemoryTokens:
        """The memory of texts that satisfy ``conditions``, as a search has them."""
        return self.with_settings(conditions=conditions)

    def best(self, number: int) -> StoredMemoryTokens:
        """The memory that gives a prompt the ``number`` best texts, 2 by default."""
        if not is_count(number) or number > 256:
            raise QueryError(f"A prompt gets 1 to 256 texts, not {number!r:.20}.")
        return self.with_settings(number=number)

    def vectors(self, of: str) -> torch.Tensor:
        """The vectors of a text, float32 [v, hidden], to stand behind the token `begin` as input embeddings.

        Raises `BankError` where the text has none that are exact.
        """
        import torch

        row = self.module.get(of)
        if row is None:
            raise BankError(
                f"{self.view.path} has no exact memory token of {one_line(of, 40)}; `bank.table('memory_tokens')` "
                "lists all, with those that did not come back."
            )
        cell = self.view.dataset(NAME).take([row["place"]], ["embedding"])["embedding"][0].as_py()
        width: Any = self.info.config.get("width")
        if hash_bytes(cell) != row["check"] or not is_count(width) or len(cell) != 4 * row["vectors"] * width:
            raise ModelError(
                f"The memory token of {one_line(of, 40)} is not what was written (its check differs); bring the "
                "dataset memory_tokens back from a copy, or build it again."
            )
        return torch.from_numpy(np.frombuffer(cell, "<f4").reshape(row["vectors"], width).copy())

    def recall_ids(self, model: Any, of: str) -> list[int]:
        """The token ids of a text, as ``model`` writes them back. Raises `ModelError` where they are not those."""
        vectors = self.vectors(of)
        width = int(model.get_input_embeddings().weight.shape[1])
        if vectors.shape[1] != width:
            raise ModelError(
                f"Memory tokens of {vectors.shape[1]} numbers belong to another model than this one of {width}; load "
                "the model of the bank's recipe."
            )
        ids = decoded(model, self.begin, vectors, self.module[of]["tokens"])
        if hash_of_ids(ids) != self.module[of]["ids"]:
            raise ModelError(
                f"The memory token of {one_line(of, 40)} does not give its text back here: it was checked in another "
                "dtype, or another memory acts inside the model. Load the model as the recipe does, and attach memory "
                "tokens without others; the text itself is in the bank."
            )
        return ids

    def recall(self, model: Any, of: str, tokenizer: Any = None) -> str:
        """The text of the id ``of``, as ``model`` writes it back from its vectors, checked against its hash."""
        own = tokenizer or languagemodel.tokenizer_of(model)
        if own is None:
            raise ModelError("The model does not have its tokenizer with it; give `tokenizer=`.")
        text: str = own.decode(self.recall_ids(model, of))
        return text

    def enter(self, host: Host, weight: float | Schedule) -> Entry:
        if not before_prompt(self.info, weight):
            return Entry()
        tokenizer = languagemodel.tokenizer_of(host.model)
        own = tokenizer or languagemodel.tokenizer(self.view.release.recipe["language_model"])
        end = own("\n", add_special_tokens=False)["input_ids"]
        return host.context(Rebuilding(self, host.model, own, tuple(end)))

    def scores(self, rows: HeldOutRows) -> None:
        """Only a pass of the model can tell."""


@dataclass(eq=False)
class Rebuilding:
    """The texts for a prompt, rebuilt by ``model``; ``end`` are the token ids behind each."""

    memory: StoredMemoryTokens
    model: Any
    tokenizer: Any
    end: tuple[int, ...]

    def __call__(self, row: torch.Tensor) -> Sequence[int]:
        """Token ids for a prompt's ids int64 [n]."""
        text = self.tokenizer.decode(row, skip_special_tokens=True)
        texts = [self.memory.recall_ids(self.model, of) for of in self.memory.finder.serving(text)]
        return [token for ids in texts for token in (*ids, *self.end)]
