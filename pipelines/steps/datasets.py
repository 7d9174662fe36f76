"""The datasets of a recipe's steps: those of the catalogue, and those that the steps declare themselves.

An undeclared dataset would be built and then be missing from the release, from `mnemic digest` and from `export`. So a
build with a step that makes one is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from mnemic.catalogue import CATALOGUE, NAME, DatasetSpec, in_order
from mnemic.dataset import Dataset, Store
from mnemic.errors import StepError
from pipelines.steps.contracts import Step

_NO_FIELDS = pa.schema([])


def known_datasets(steps: Iterable[Step]) -> dict[str, DatasetSpec]:
    """All datasets that a bank of these steps may have: mnemic's own, then those that the steps declare, by name.

    Raises ``StepError`` where a step makes or grows a dataset that nobody declares, or declares what is taken.
    """
    steps = list(steps)
    specs = dict(CATALOGUE)
    for step in steps:
        for spec in step.specs:
            if specs.setdefault(spec.name, spec) != spec:
                owner = "mnemic has one" if spec.name in CATALOGUE else "another step declares one"
                raise StepError(
                    f"The step {step.name} declares a dataset {spec.name}, and {owner} of that name that is not the "
                    "same. Give it another name."
                )
            if not NAME.fullmatch(spec.name) or (not spec.key and spec.digested):
                raise StepError(
                    f"The step {step.name} declares the dataset {spec.name!r} with the key {spec.key}. Give it a name "
                    "of small letters, digits, - and _, and the columns that identify a row."
                )
    _refuse_shared_columns(steps)
    for step in steps:
        for name in step.datasets:
            if name not in specs:
                raise StepError(
                    f"The step {step.name} writes a dataset {name} that nobody declares. Declare it with a DatasetSpec "
                    "in the step's section, so that releases, `mnemic digest` and `mnemic export` know it."
                )
    return {name: specs[name] for name in in_order(specs)}


def _refuse_shared_columns(steps: Iterable[Step]) -> None:
    """A column that two steps add would be dropped by each and made anew, in every build."""
    owners: dict[tuple[str, str], str] = {}
    for step in steps:
        for dataset in step.datasets[:1]:
            for column in _added_columns(step):
                owner = owners.setdefault((dataset, column), step.name)
                if owner != step.name:
                    raise StepError(
                        f"The steps {owner} and {step.name} both add a column {column} to {dataset}. Give one of the "
                        "columns another name in its operator's output, or leave out one of the steps."
                    )


def _added_columns(step: Step) -> list[str]:
    """The columns that ``step`` adds to its first dataset, as far as they are known without its rows."""
    operator = getattr(step, "operator", None)
    if operator is None or {*step.datasets[:1]} & {spec.name for spec in step.specs}:
        return []
    try:
        return list(operator.output(_NO_FIELDS).names)
    except Exception:  # what it adds depends on columns of the rows
        return []


def made_datasets(steps: Sequence[Step]) -> list[DatasetSpec]:
    """The datasets that these steps make or grow, and their rejects."""
    names = {"rejects", *(name for step in steps for name in step.datasets)}
    return [spec for name, spec in known_datasets(steps).items() if name in names]


class DeclaredStore(Store):
    """A bank whose steps reach no dataset but the ``declared`` ones: what nobody declared would be in no release."""

    def __init__(self, store: Store, declared: Iterable[str]) -> None:
        self.root, self.storage_options = store.root, store.storage_options
        self._declared = frozenset(declared)

    def __getitem__(self, name: str) -> Dataset:
        if name not in self._declared:
            raise StepError(
                f"A step reaches for a dataset {name} that no step of this recipe declares. Declare it with a "
                "DatasetSpec in the section of the step that writes it."
            )
        return super().__getitem__(name)
