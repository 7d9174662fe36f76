"""Contamination: spans of documents that stand in evaluation sets, as rows; what follows from them is a decision."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from mnemic.catalogue import CATALOGUE
from mnemic.errors import RecipeError
from mnemic.schema import CONTAMINATION
from operators.contamination.sets import digest_of, files_of, questions_of
from operators.contracts import NO_REJECTS, BatchFunction, Resources, bounds, refuse
from operators.sections import Derive, Section

ACTIONS = ("flag", "cut", "drop")


@dataclass(frozen=True)
class Contamination:
    """Rows of `contamination` {document, start, end, set, question, share} from documents.

    ``sets``: files or patterns of evaluation sets, relative to the recipe. ``ngram``: words that must stand in a row,
    default 13, as GPT-3 had it. ``shortest``: words of a question that is compared as a whole where it has fewer than
    ``ngram``, default 8. ``action``: "flag" (the default) writes the rows, "cut" leaves the spans out of what is made
    of the text, "drop" drops the documents; nothing is deleted.
    """

    sets: tuple[str, ...] = field(default=(), metadata={"identity": False})
    ngram: int = 13
    shortest: int = 8
    action: str = field(default="flag", metadata={"identity": False})
    root: str = field(default="", metadata={"identity": False})
    digest: str = ""  # of the files, filled in when a recipe is read
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def __post_init__(self) -> None:
        rules = (
            ("ngram", 2 <= self.ngram <= 100, "a number of words between 2 and 100, such as 13"),
            ("shortest", self.shortest >= 2, "a number of words of at least 2, such as 8"),
            ("action", self.action in ACTIONS, "one of flag, cut and drop"),
            ("sets", bool(self.sets), "a list of files, such as [evals/*.jsonl]"),
        )
        refuse(bounds(self, "Contamination's {name} is {value!r}; give {bound}.", rules))

    def resolved(self) -> Contamination:
        """With the hash of the evaluation sets, so that an edited set makes rows stale."""
        return dataclasses.replace(self, digest=digest_of(files_of(self.sets, self.root)))

    def output(self, schema: pa.Schema) -> pa.Schema:
        return CONTAMINATION

    def open(self, device: str) -> BatchFunction:
        from operators.contamination.table import QuestionTable  # which needs numba

        files = files_of(self.sets, self.root)
        if self.digest and digest_of(files) != self.digest:
            raise RecipeError("The evaluation sets changed while the bank was built; build it again.")
        questions = [question for file in files for question in questions_of(file)]
        table = QuestionTable(questions, self.ngram, self.shortest)

        def compare(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            rows: dict[tuple[str, int, int, str, str], dict[str, Any]] = {}
            for document, matches in zip(batch["id"].to_pylist(), table.matches(batch["text"]), strict=True):
                for match in matches:
                    question = questions[match.question]
                    row = {
                        "document": document,
                        "start": match.start,
                        "end": match.end,
                        "set": question.set,
                        "question": question.id,
                        "share": match.share,
                    }
                    key = (document, match.start, match.end, question.set, question.id)
                    if key not in rows or rows[key]["share"] < match.share:  # two texts of one question
                        rows[key] = row
            return pa.RecordBatch.from_pylist(list(rows.values()), schema=CONTAMINATION), NO_REJECTS

        return compare


def _as_curated(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings stand below `curate`."""
    if settings is not None:
        raise ValueError("write it below `curate`: `curate: {contamination: {sets: [evals/*.jsonl]}}`")
    curate = sections.get("curate")
    return None if curate is None or curate.contamination is None else dict(curate.contamination)


SECTION = Section(
    "contamination",
    Contamination,
    Derive(
        origin="documents",
        target=CATALOGUE["contamination"],
        columns=("id", "text"),
        key=("id",),
        target_key=("document",),
        after=("read",),
    ),
    complete=_as_curated,
)
