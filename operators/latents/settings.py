"""Which texts latents are trained for, and the settings that their trainings share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import pyarrow as pa

from mnemic.hardware import resolve_dtype
from mnemic.latents.datasets import LATENT_LEVELS, LONGEST
from mnemic.plugins import load_address
from operators.contracts import Progress, Resources
from operators.train.checkpoint import Checkpoint

if TYPE_CHECKING:
    from mnemic.pages.page import Page


@dataclass(frozen=True)
class LatentText:
    """A text that has a latent: ``ids`` are its tokens, ``hash`` that of its characters.

    ``of`` is the id of a document or event, or the path of a node; ``documents`` and ``events`` are what it is made of.
    Where the bank has ``pages`` of all of it and the latent starts from them, these are their ids and ``stored`` the
    pages, one behind the other; ``ids`` are then those that the pages were read from.
    """

    of: str
    ids: tuple[int, ...]
    hash: str
    documents: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()
    stored: tuple[Page, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class LatentEpoch:
    """The result of an epoch; after the last one ``row`` has the columns of the latent, beside those of its text."""

    checkpoint: Checkpoint
    row: dict[str, Any] | None = None


class LatentTrainer(Protocol):
    """What trains latents with an open model, one text after the other."""

    def epoch(self, text: LatentText, state: bytes | None, progress: Progress) -> LatentEpoch:
        """The next epoch of the latent of ``text``, from the ``state`` of the checkpoint before it."""

    def config(self) -> tuple[dict[str, Any], bytes]:
        """Config and weights of the memory that all latents of a bank are."""


class LatentSettings:
    """A frozen dataclass of settings for `operators.train.loop`, of which the fields below are some.

    ``trained_by`` is "module:class" of the trainer, which imports torch.
    """

    version: ClassVar[int]
    resources: ClassVar[Resources]
    trained_by: ClassVar[str]
    model: str
    level: str
    where: str | None
    most: int
    min_tokens: int
    max_tokens: int
    epochs: int
    learning_rate: float
    warmup: int
    seed: int
    dtype: str

    @property
    def from_pages(self) -> bool:
        """Whether a latent starts from the bank's pages of its text, where there are some."""
        return False

    @property
    def own_columns(self) -> tuple[pa.Field, ...]:
        """Columns that the rows have beside those of their dataset in all banks."""
        return ()

    def trainer(self, model: Any, tokenizer: Any) -> LatentTrainer:
        """What trains latents with an open model."""
        trainer: LatentTrainer = load_address(self.trained_by)(self, model, tokenizer)
        return trainer

    @property
    def patience(self) -> int:
        """Epochs without a better validation: there is none, and all epochs run."""
        return self.epochs

    @property
    def optimiser(self) -> str:
        return "adamw"

    @property
    def matrix_rate(self) -> float:
        """Of Muon, which is for matrices inside a network."""
        return 0.0

    @property
    def weight_decay(self) -> float:
        return 0.0

    def half(self, device: str) -> bool:
        return resolve_dtype(self.dtype, device) == "bfloat16"

    def identity(self) -> dict[str, Any]:
        """Settings that a checkpoint must share: not the model's address, nor which texts there are."""
        apart = ("model", "level", "where", "most")
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in apart}  # type: ignore[arg-type]
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}
        return plain | {"version": self.version}

    def rules(self) -> Iterator[tuple[str, bool, str]]:
        """Of the fields here, for `operators.contracts.bounds`."""
        yield from (
            ("level", self.level in LATENT_LEVELS, f"one of {', '.join(LATENT_LEVELS)}"),
            (
                "where",
                self.where is None or isinstance(self.where, str),
                "a condition in SQL over rows of the level",
            ),
            ("most", self.most >= 1, "a number of texts of at least 1"),
            ("max_tokens", self.min_tokens <= self.max_tokens < LONGEST, f"a number from min_tokens to {LONGEST - 1}"),
            ("epochs", self.epochs >= 0, "a number of at least 0"),
            ("learning_rate", 0 <= self.learning_rate < math.inf, "a number of at least 0, such as 0.01"),
            ("warmup", self.warmup >= 0, "a number of steps of at least 0"),
            ("seed", 0 <= self.seed < 2**64, "a number between 0 and 18446744073709551615"),
        )
