"""A wrong declaration of another package is a sentence that names the section and its package."""

import dataclasses
from types import SimpleNamespace
from typing import ClassVar

import pyarrow as pa
import pytest

from mnemic.catalogue import DatasetSpec, Parent
from mnemic.errors import RecipeError
from operators.contracts import Resources
from operators.sections import Derive, Driven, Fit, Grow, Learn, Section, shared_field
from pipelines import sections as module
from pipelines.declarations import SETTINGS, fault, fault_among
from pipelines.recipe.model import Recipe
from pipelines.sections import BUILT_IN, sections

ROWS = pa.schema([("document", pa.string()), ("count", pa.int64())])
COUNTS = DatasetSpec("counts", ROWS, ("document",), (Parent("documents", "document", "delete"),))


@dataclasses.dataclass(frozen=True)
class Count:
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()
    least: int = 0

    def output(self, schema):
        return ROWS

    def open(self, device): ...

    fit = restore = train = config = open


@dataclasses.dataclass(frozen=True)
class Shared(Count):
    window: int = shared_field(3, said_by="datastore.size")


@dataclasses.dataclass(frozen=True)
class NoDefault:
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()
    least: int
    output, open = Count.output, Count.open


def derived(**changes):
    return Derive(
        **{
            "origin": "documents",
            "target": COUNTS,
            "columns": ("id", "text"),
            "key": ("id",),
            "target_key": ("document",),
            "after": ("deduplicate",),
        }
        | changes
    )


def counts(**changes):
    return dataclasses.replace(COUNTS, **changes)


def test_ours_and_a_sound_one_of_another_package_have_no_fault():
    sound = Section("count", Count, derived())
    for section in (*BUILT_IN, sound):
        assert fault(section) is None and fault_among(section, (*BUILT_IN, sound)) is None


def test_every_setting_of_a_recipe_is_known_as_one():
    assert set(SETTINGS) == set(Recipe.model_fields)
    for name in (*SETTINGS, *(name for name in vars(Recipe) if not name.startswith("_")), "model_dump", "read"):
        phrase = fault(Section(name, Count, derived()))
        assert phrase is not None, name


@pytest.mark.parametrize(
    ("section", "phrase"),
    [
        (Section("_count", Count, derived()), "is called '_count'"),
        (Section("bank", Count, derived()), "is called 'bank', which means something else"),
        (Section("count", Count, None), "has a step None"),
        (Section("count", Count(), derived()), "is no dataclass"),
        (Section("count", dict, derived()), "is no dataclass"),
        (Section("count", dataclasses.make_dataclass("Bare", ["size"]), derived()), "that can be changed"),
        (
            Section("count", dataclasses.make_dataclass("Bare", [], frozen=True), derived()),
            "without version, resources",
        ),
        (Section("count", NoDefault, derived(), on=True), "has no default for least"),
        (Section("count", Count, derived(), on="wish"), "is on with 'wish'"),
        (Section("count", Count, derived(after="read")), "whose after is 'read'"),
        (Section("count", Count, derived(key=())), "the same number of columns"),
        (Section("count", Count, derived(key=("id", "source"))), "the same number of columns"),
        (Section("count", Count, derived(target=counts(key="document"))), "whose key is 'document'"),
        (Section("count", Count, derived(target=counts(key=("id",)))), "whose key has id"),
        (
            Section("count", Count, derived(target=counts(parents=(Parent("documents", "id", "redo"),)))),
            "a column that it lacks",
        ),
        (
            Section("count", Count, derived(target=counts(parents=(Parent("documents", "document", "drop"),)))),
            "with the rule 'drop'",
        ),
        (Section("count", Count, Learn("counts", "tally", ("teacher",), "vectors")), "of the kind 'tally'"),
        (Section("count", Count, Learn("counts", "mlp", ("teacher",), "leaves")), "on 'leaves'"),
        (Section("count", Count, Learn("knn", "mlp", ("teacher",), "vectors")), "calls its memory 'knn'"),
        (Section("count", Count, Driven("json", ("read",))), "write it as package.module:name"),
    ],
)
def test_what_is_wrong_with_a_section_by_itself(section, phrase):
    assert phrase in fault(section)


@pytest.mark.parametrize(
    ("section", "phrase"),
    [
        (Section("count", Count, Grow("nothing", ("text",), ("read",))), "a dataset 'nothing', which no section"),
        (Section("count", Count, Grow("events", ("text",), ("read",))), "does not come after the step 'segment'"),
        (Section("count", Count, Fit("units", ("id",), ("text",), ("split",))), "does not come after the step 'units'"),
        (
            Section("count", Count, derived(target=counts(parents=(Parent("nothing", "document", "redo"),)))),
            "whose parent is 'nothing'",
        ),
        (Section("count", Shared, derived()), "said by 'datastore.size'"),
    ],
)
def test_what_is_wrong_with_a_section_beside_the_others(section, phrase):
    assert fault(section) is None
    assert phrase in fault_among(section, (*BUILT_IN, section))


@pytest.mark.parametrize("broken", [Section("bank", Count, derived()), Section("count", Shared, derived())])
def test_sections_are_refused_with_the_name_of_the_package(broken, monkeypatch):
    point = SimpleNamespace(name="count", value="counting:SECTION", module="counting", dist=None, load=lambda: broken)
    monkeypatch.setattr(module, "entries", lambda group: [point])
    sections.cache_clear()
    try:
        with pytest.raises(RecipeError, match=r"'count' of the package counting .* uninstall counting\.$"):
            module.sections()
    finally:
        sections.cache_clear()
