"""The teacher as an operator: what the neighbours of every row of the datastore vote for.

Everything follows from the columns of the search, so that another temperature, support or mask costs seconds. Masks are
applied here for the same reason: a search that left out near copies would have to be made again for another similarity.
Masked neighbours are not replaced, and need not be: 64 of 256 neighbours keep 90 % of the gain (MLP Memory, arXiv
2508.01832, table 9). A row that has only copies of itself has nothing to teach but its own token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from operators.contracts import Corpus, Progress, Resources, bounds, refuse
from operators.sections import Driven, Section
from operators.teacher.targets import target_fields

if TYPE_CHECKING:
    from operators.teacher.vote import FittedTeacher


@dataclass(frozen=True)
class Teacher:
    """Columns ``teacher_*`` for rows of the datastore whose neighbours are known.

    ``support`` is how many tokens of the distribution are kept; ``temperature`` its scale (None: from the store, tuned
    on validation text). Documents that deduplication found at least ``mask_similarity`` alike do not vote for one
    another (None: only a document's own rows are masked).
    """

    version: ClassVar[int] = 3
    resources: ClassVar[Resources] = Resources(memory=2 << 30)

    support: int = 64
    temperature: float | None = None
    mask_similarity: float | None = 0.5

    def __post_init__(self) -> None:
        temperature, similarity = self.temperature, self.mask_similarity
        refuse(
            bounds(
                self,
                "The teacher's {name} is {value!r}; give {bound}.",
                (
                    ("support", self.support >= 1, "a number of tokens of at least 1, such as 64"),
                    (
                        "temperature",
                        temperature is None or 0 < temperature < float("inf"),
                        "a number above 0, or leave it out to have it chosen",
                    ),
                    (
                        "mask_similarity",
                        similarity is None or 0 < similarity <= 1,
                        "a similarity above 0 and at most 1, such as 0.5, or null to mask a document's own rows alone",
                    ),
                ),
            )
        )

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema(target_fields(schema.field("token").type, self.support))

    def fit(self, corpus: Corpus, device: str, progress: Progress) -> FittedTeacher:
        """Choose the temperature, on samples of the store's rows and of the validation rows."""
        from operators.teacher import vote

        return vote.fit(self, corpus, device, progress)

    def restore(self, state: pa.Table, corpus: Corpus, device: str) -> FittedTeacher:
        """Read the tokens in another process, with the temperature that `fit` chose."""
        from operators.teacher import vote

        return vote.restore(self, state, corpus, device)


SECTION = Section(
    "teacher",
    Teacher,
    Driven("pipelines.steps.neighbours:teacher_step", after=("neighbours",)),
    on="language_model",
)
