"""Steps that make rows of rows: an input of which nothing is made is asked once; datasets of other packages."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest
from tiny_bank import UNITS_ALONE, tiny_recipe

import mnemic
from mnemic.catalogue import CATALOGUE, DECLARATION, DatasetSpec, Parent, spec_of
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.dataset.write import write_rows
from mnemic.errors import StepError, TooManyRejects
from mnemic.kept import KEPT
from operators.contracts import NO_REJECTS, REJECTED, Resources
from pipelines import faults
from pipelines import plan as planning
from pipelines import run as running
from pipelines.identity import Record
from pipelines.plan import plan
from pipelines.run import build
from pipelines.steps import each_step, steps_of
from pipelines.steps.datasets import known_datasets
from pipelines.steps.derive import DeriveStep

FACTS = DatasetSpec(
    "facts",
    None,
    key=("document", "number"),
    parents=(Parent("documents", "document", "delete"),),
    bookkeeping=frozenset({"made"}),
)
FACT = pa.schema(
    [
        pa.field("document", pa.string(), nullable=False),
        pa.field("number", pa.int32(), nullable=False),
        pa.field("fact", pa.string(), nullable=False),
        pa.field("made", pa.string(), nullable=False),
    ]
)


@dataclasses.dataclass(frozen=True)
class Facts:
    """Sentences "X is Y." of documents; a document with "???" is rejected. Notes the text of each document it sees."""

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    log: str = dataclasses.field(metadata={"identity": False})
    verb: str = " is "

    def output(self, schema: pa.Schema) -> pa.Schema:
        return FACT

    def open(self, device):
        return self._facts

    def _facts(self, batch):
        rows, rejects = [], []
        for row in batch.to_pylist():
            with Path(self.log).open("a") as log:
                log.write(json.dumps(row["text"]) + "\n")
            if "???" in row["text"]:
                reason = {"input": row["id"], "locator": "there", "reason": "It asks.", "severity": "reject"}
                rejects.append(reason)
                continue
            for number, sentence in enumerate(s for s in row["text"].split(".") if self.verb in s):
                rows.append({"document": row["id"], "number": number, "fact": sentence.strip(), "made": "now"})
        facts = pa.RecordBatch.from_pylist(rows, schema=FACT)
        return facts, pa.RecordBatch.from_pylist(rejects, schema=REJECTED) if rejects else NO_REJECTS


@pytest.fixture
def corpus(tmp_path):
    place = tmp_path / "corpus"
    place.mkdir()
    for number in range(6):
        says = f"The table {number} is a list of columns." if number % 3 == 0 else f"Nothing of note in {number}."
        (place / f"{number}.txt").write_text(says)
    return place


@pytest.fixture
def recipe(tmp_path, corpus):
    full = tiny_recipe(tmp_path, corpus)
    return {name: full[name] for name in ("name", "bank", "sources")} | UNITS_ALONE


@pytest.fixture
def step(tmp_path, monkeypatch):
    """Every recipe of the test also has a step `facts`, which is changed by the keywords."""

    def with_step(operator=None, **changes):
        def steps(loaded, device=None, *options):
            plan = steps_of(loaded, device, *options)
            facts = operator or Facts(str(tmp_path / "seen"))
            record = Record("facts", 1, {"verb": facts.verb}, {"read": plan[0].record.fingerprint})
            fields = {
                "origin": "documents",
                "target": FACTS,
                "columns": ("id", "text"),
                "key": ("id",),
                "target_key": ("document",),
                "after": ("deduplicate",),
                "where": KEPT,
                "needs": ("duplicate_of",),
            }
            return [*plan, DeriveStep(record, facts, **{**fields, **changes})]

        monkeypatch.setattr(running, "steps_of", steps)
        monkeypatch.setattr(planning, "each_step", steps)

    with_step()
    return with_step


def seen(tmp_path) -> list[str]:
    """Texts that the operator was asked about since the last call."""
    log = tmp_path / "seen"
    texts = sorted(json.loads(line) for line in log.read_text().splitlines()) if log.exists() else []
    log.unlink(missing_ok=True)
    return texts


def stop_at_commit(monkeypatch, number: int) -> None:
    """Interrupt the next build after so many commits of the step `facts`."""
    left = number

    def reach(place, point):
        nonlocal left
        left -= (place, point) == ("facts", "after-commit")
        if left == 0:
            left = -1
            raise KeyboardInterrupt

    monkeypatch.setattr(faults, "reach", reach)


def marks(recipe) -> list[dict]:
    return Store(recipe["bank"])["rejects"].require().table(["input", "whole"], "severity = 'nothing'").to_pylist()


def test_an_input_of_which_nothing_is_made_is_asked_once(recipe, corpus, step, tmp_path, capsys):
    (corpus / "asks.txt").write_text("What is it???")
    events = []
    result = build({**recipe, "max_rejects": 0.5}, device="cpu", sinks=[events.append])
    assert len(seen(tmp_path)) == 7
    assert len(marks(recipe)) == 4 and all(mark["whole"] for mark in marks(recipe))
    assert not build(recipe, device="cpu").steps and seen(tmp_path) == [], "nothing runs twice"
    assert plan(recipe).nothing_to_do
    counted = {done.step: done.rejects for done in result.steps}
    assert counted["facts"] == 1 == result.release.counts["rejects"]
    assert [event.message for event in events if event.kind == "reject"] == ["  left out: there: It asks."]
    assert main(["show", recipe["bank"], "--failures", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["rejects"]
    assert [(row["step"], row["severity"]) for row in shown] == [("facts", "reject")]
    assert main(["show", recipe["bank"], "--failures"]) == 0
    assert "nothing" not in capsys.readouterr().out


def test_marks_are_no_content_of_a_bank(recipe, step):
    build(recipe, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    assert bank.table("rejects").num_rows == 4
    assert "rejects" not in bank.digest() and bank.release.counts["rejects"] == 0


def test_an_edited_input_is_asked_anew_and_its_mark_goes(recipe, corpus, step, tmp_path):
    build(recipe, device="cpu")
    before, inputs = marks(recipe), seen(tmp_path)
    assert len(before) == 4 and len(inputs) == 6
    (corpus / "1.txt").write_text("Nothing of note, as ever.")
    (corpus / "2.txt").unlink()
    build(recipe, device="cpu")
    assert seen(tmp_path) == ["Nothing of note, as ever."]
    assert len(marks(recipe)) == 3 and len({mark["input"] for mark in [*before, *marks(recipe)]}) == 5


def test_a_stale_step_asks_about_all_again(recipe, step, tmp_path):
    build(recipe, device="cpu")
    assert len(seen(tmp_path)) == 6
    step(Facts(str(tmp_path / "seen"), verb="Nothing"))
    build(recipe, device="cpu")
    assert len(seen(tmp_path)) == 6 and len(marks(recipe)) == 2
    assert mnemic.open_bank(recipe["bank"]).table("facts").num_rows == 4


@pytest.mark.parametrize("fault", [2, 3, *(pytest.param(one, marks=pytest.mark.slow) for one in (1, 4))])
def test_a_build_that_dies_between_marks_and_rows_is_carried_on(recipe, step, tmp_path, monkeypatch, fault):
    """Marks and rejects are committed before rows; whichever commit is the last, nothing is lost or made twice."""
    build(recipe, device="cpu")
    undisturbed, recipe = mnemic.open_bank(recipe["bank"]).digest(), {**recipe, "bank": str(tmp_path / "killed")}
    stop_at_commit(monkeypatch, fault)
    with pytest.raises(KeyboardInterrupt):
        build(recipe, device="cpu", commit_every=1)
    build(recipe, device="cpu", commit_every=1)
    assert mnemic.open_bank(recipe["bank"]).digest() == undisturbed
    assert len(marks(recipe)) == 4 and plan(recipe).nothing_to_do


@dataclasses.dataclass(frozen=True)
class FactsOfUnits(Facts):
    """At most one fact of every unit."""

    def _facts(self, batch):
        with Path(self.log).open("a") as log:
            log.writelines(json.dumps(text) + "\n" for text in batch["text"].to_pylist())
        rows = [
            {"document": row["document"], "number": row["ordinal"], "fact": row["text"], "made": "now"}
            for row in batch.to_pylist()
            if self.verb in row["text"]
        ]
        return pa.RecordBatch.from_pylist(rows, schema=FACT), NO_REJECTS


@pytest.mark.parametrize("fault", [0, pytest.param(2, marks=pytest.mark.slow), 3])
def test_an_input_may_have_a_key_of_several_columns(recipe, corpus, step, tmp_path, monkeypatch, fault):
    (corpus / "long.txt").write_text("Here is one. Then a pause. There is one. Then the end.")
    step(
        FactsOfUnits(str(tmp_path / "seen")),
        origin="units",
        columns=("document", "ordinal", "text"),
        key=("document", "ordinal"),
        target_key=("document", "number"),
        where=None,
        needs=(),
    )
    if fault:
        stop_at_commit(monkeypatch, fault)
        with pytest.raises(KeyboardInterrupt):
            build(recipe, device="cpu")
        seen(tmp_path)
    build(recipe, device="cpu")
    units = Store(recipe["bank"])["units"].require().count()
    inputs = seen(tmp_path)
    assert units == 10 and len(set(inputs)) == len(inputs)
    assert len(inputs) == (10 if fault < 3 else 4), "marks stand before the rows of their documents"
    assert len(marks(recipe)) == 6 and mnemic.open_bank(recipe["bank"]).table("facts").num_rows == 4
    assert plan(recipe).nothing_to_do and not build(recipe, device="cpu").steps
    (corpus / "long.txt").write_text("Here is one. Then a pause.")
    build(recipe, device="cpu")
    assert seen(tmp_path) == ["Here is one.", "Then a pause."]
    assert len(marks(recipe)) == 5 and mnemic.open_bank(recipe["bank"]).table("facts").num_rows == 3


def test_rejects_are_counted_against_all_that_was_asked(recipe, corpus, step):
    for number in range(40):
        (corpus / f"more-{number}.txt").write_text(f"Of {number} there is no say" if number < 28 else f"{number}???")
    with pytest.raises(TooManyRejects, match="rejected 12 of 46 inputs"):
        build(recipe, device="cpu")


def test_inputs_are_called_by_their_dataset():
    record, operator = Record("facts", 1, {}, {}), Facts("")
    origins = [("documents", "id"), ("events", "id"), ("units", "document")]
    units = [DeriveStep(record, operator, origin, FACTS, (), (key,), (), ()).unit for origin, key in origins]
    assert units == ["documents", "events", "documents"]


def test_a_dataset_of_another_package_is_built_pinned_hashed_exported_planned_and_cleaned(
    recipe, corpus, step, tmp_path, capsys
):
    result = build(recipe, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    assert bank.table("facts", ["fact"], "number = 0")["fact"].to_pylist()[0].startswith("The table")
    assert bank.release.versions["facts"] == Store(recipe["bank"])["facts"].require().version
    assert list(result.release.versions)[-1] == "facts" and bank.release.counts["facts"] == 2
    assert plan(recipe).datasets["facts"][0] == 2 and plan(recipe).datasets["facts"][1] > 0

    assert main(["show", recipe["bank"], "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["funnel"].items())[-1] == ("facts", 2)
    exported = tmp_path / "facts.jsonl"
    assert main(["export", recipe["bank"], "facts", str(exported)]) == 0
    assert {json.loads(line)["fact"][:9] for line in exported.read_text().splitlines()} == {"The table"}
    assert main(["export", recipe["bank"], "fact", str(exported)]) != 0
    assert "Did you mean 'facts'?" in capsys.readouterr().err

    facts = Store(recipe["bank"])["facts"]
    rows = pa.Table.from_pylist([{"document": "d", "number": 0, "fact": "f", "made": "m"}], schema=FACT)
    write_rows(facts.uri, rows, FACT)
    (corpus / "new.txt").write_text("It is new.")
    build(recipe, device="cpu")
    assert facts.remove_orphans() == 0

    digests = mnemic.open_bank(recipe["bank"]).digest()
    assert list(digests)[-2:] == ["facts", "bank"]
    fresh = {**recipe, "bank": str(tmp_path / "fresh")}
    build(fresh, device="cpu")
    assert mnemic.open_bank(fresh["bank"]).digest()["facts"] == digests["facts"]


def test_a_reader_without_the_package_knows_what_a_dataset_is(recipe, step):
    build(recipe, device="cpu")
    snapshot = Store(recipe["bank"])["facts"].require()
    assert DECLARATION in snapshot.schema.metadata
    read = spec_of("facts", snapshot.schema)
    assert dataclasses.replace(read, schema=None) == FACTS
    before = mnemic.open_bank(recipe["bank"]).digest()
    Store(recipe["bank"])["facts"].annotate(snapshot.record)
    assert spec_of("facts", Store(recipe["bank"])["facts"].require().schema) == dataclasses.replace(
        read, schema=Store(recipe["bank"])["facts"].require().schema
    )
    assert mnemic.open_bank(recipe["bank"]).digest() == before


def test_what_a_recipe_does_not_make_is_in_no_release(recipe, step, monkeypatch):
    build(recipe, device="cpu")
    monkeypatch.setattr(running, "steps_of", steps_of)
    monkeypatch.setattr(planning, "each_step", each_step)
    without = build(recipe, device="cpu").release
    assert "facts" not in without.versions
    assert "facts" not in mnemic.open_bank(recipe["bank"]).digest()


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (DatasetSpec("pairs", None, ("document",)), "mnemic has one of that name"),
        (DatasetSpec("My Facts", None, ("document",)), "Give it a name of small letters"),
        (DatasetSpec("facts", None, ()), "the columns that identify a row"),
        (DatasetSpec("facts", None, ("nobody",)), "without nobody, which its section names as key"),
    ],
)
def test_a_declaration_that_cannot_hold_is_refused(recipe, step, spec, sentence):
    step(target=spec)
    with pytest.raises(StepError, match=sentence):
        build(recipe, device="cpu")


@dataclasses.dataclass(frozen=True)
class Undeclared(DeriveStep):
    """A step that names its dataset and says nothing of it."""

    @property
    def specs(self):
        return ()


def test_a_step_that_writes_what_nobody_declares_is_refused(recipe, step, monkeypatch):
    declared = running.steps_of

    def steps(*options):
        *others, last = declared(*options)
        return [*others, Undeclared(**{field.name: getattr(last, field.name) for field in dataclasses.fields(last)})]

    monkeypatch.setattr(running, "steps_of", steps)
    monkeypatch.setattr(planning, "each_step", steps)
    for action in (lambda: build(recipe, device="cpu"), lambda: plan(recipe)):
        with pytest.raises(StepError, match="The step facts writes a dataset facts that nobody declares"):
            action()
    assert not Path(recipe["bank"]).exists(), "before anything is written"


def test_a_step_does_not_reach_what_nobody_declares(recipe, step, monkeypatch):
    monkeypatch.setattr(DeriveStep, "datasets", property(lambda self: ()))
    monkeypatch.setattr(DeriveStep, "specs", property(lambda self: ()))
    with pytest.raises(StepError, match="no step of this recipe declares"):
        build(recipe, device="cpu")


def test_every_dataset_of_a_whole_build_is_in_the_catalogue(whole):
    """Whatever a step of ours writes is declared, and says who its parents are by columns that it has.

    A step may declare a dataset of its own in its section; the catalogue has those that others read.
    """
    catalogue = known_datasets(steps_of(running.load_recipe(whole.recipe), "cpu"))
    assert catalogue.items() >= CATALOGUE.items()
    written = {place.stem for place in Path(whole.recipe["bank"]).glob("*.lance")}
    assert written <= catalogue.keys()
    assert written >= {name for name, spec in CATALOGUE.items() if spec.pinned and spec.digested}
    store = Store(whole.recipe["bank"])
    for name in written:
        names, spec = store[name].require().schema.names, catalogue[name]
        assert {*spec.key, *spec.bookkeeping, *(one.column for one in spec.parents if one.column)} <= set(names), name
        assert {one.dataset for one in spec.parents} <= catalogue.keys(), name
