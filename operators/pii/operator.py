"""Personal data in documents: marked as a column, or masked by the reader before a bank has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from mnemic.errors import RecipeError
from mnemic.personal import PERSONAL_KINDS, PII
from operators.contracts import NO_REJECTS, BatchFunction, Resources, refuse, unknown_settings
from operators.sections import Grow, Section

if TYPE_CHECKING:
    from operators.pii.masking import Masking

ACTIONS = ("mark", "mask")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}", re.ASCII)


@dataclass(frozen=True)
class PersonalData:
    """Adds `pii` (`mnemic.personal.PII`) to documents, or masks it while they are read.

    ``action``: "mark" (the default) writes the column and changes nothing else; "mask" replaces each span before the
    document enters the bank, and writes no column. ``kinds``: default all of `PERSONAL_KINDS`. ``countries``: those
    whose national telephone numbers are looked for, default [US, DE, FR, GB]; international ones always are. ``key``:
    the environment variable with the key of pseudonyms, default "": none, and all spans of a kind become one word.
    """

    action: str = field(default="mark", metadata={"identity": False})
    kinds: tuple[str, ...] = PERSONAL_KINDS
    countries: tuple[str, ...] = ("US", "DE", "FR", "GB")
    key: str = field(default="", metadata={"identity": False})
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    def __post_init__(self) -> None:
        from operators.pii.countries import COUNTRIES

        for name, among in (("kinds", PERSONAL_KINDS), ("countries", COUNTRIES)):
            values = getattr(self, name)
            strange = (
                [value for value in values if value not in among] if isinstance(values, list | tuple) else [values]
            )
            if strange:
                raise RecipeError(
                    f"`{name}` of pii names {str(strange[0])[:40]!r}; give a list of some of {', '.join(among)}."
                )
            object.__setattr__(self, name, tuple(one for one in among if one in values))
        named = isinstance(self.key, str) and (not self.key or _VARIABLE.fullmatch(self.key) is not None)
        refuse(
            [
                "" if self.action in ACTIONS else "`action` of pii is neither mark nor mask; write `pii: mask`.",
                "" if self.kinds else f"`kinds` of pii names none; give some of {', '.join(PERSONAL_KINDS)}.",
                ""
                if named
                else "`key` of pii is the name of an environment variable in capitals; write `key: MNEMIC_PII_KEY`.",
                "`key` of pii makes pseudonyms, and nothing is masked; write `action: mask`, or leave it out."
                if named and self.key and self.action == "mark"
                else "",
            ]
        )

    @classmethod
    def of(cls, settings: Any) -> PersonalData:
        """From what stands below `curate`: "mark", "mask", or settings. Raises ``RecipeError`` for all else."""
        if isinstance(settings, str):
            return cls(action=settings)
        if not isinstance(settings, Mapping):
            raise RecipeError("`pii` is neither a word nor settings; write `pii: mark` or `pii: mask`.")
        refuse(unknown_settings(cls, settings, "pii"))
        return cls(**settings)

    @property
    def masking(self) -> Masking | None:
        """What the reader masks by; None where it masks nothing. Raises ``RecipeError`` where the key is not set."""
        if self.action != "mask":
            return None
        from operators.pii.masking import Masking, secret_of

        return Masking(self.kinds, self.countries, secret_of(self.key))

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("pii", PII, nullable=False)])

    def open(self, device: str) -> BatchFunction:
        from operators.pii.finder import Finder

        finder, added = Finder(self.kinds, self.countries), self.output(pa.schema([]))

        def mark(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            spans, ends = finder.spans(batch.column("text"))
            kinds = pa.array(PERSONAL_KINDS).take(pa.array(spans[:, 2]))
            structs = pa.StructArray.from_arrays(
                [pa.array(spans[:, 0]), pa.array(spans[:, 1]), kinds], fields=list(PII.value_type)
            )
            offsets = pa.array([0, *ends.tolist()], pa.int32())
            column = pa.ListArray.from_arrays(offsets, structs, type=PII)
            return pa.RecordBatch.from_arrays([column], schema=added), NO_REJECTS

        return mark


def _as_curated(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings stand below `curate`; there is a column only where nothing is masked."""
    if settings is not None:
        raise ValueError("write it below `curate`: `curate: {pii: mark}`")
    curate = sections.get("curate")
    if curate is None or curate.pii is None:
        return None
    personal = PersonalData.of(curate.pii)
    fields = {"kinds": personal.kinds, "countries": personal.countries}
    return fields if personal.action == "mark" else None


SECTION = Section("pii", PersonalData, Grow("documents", ("id", "text"), after=("read",)), complete=_as_curated)
