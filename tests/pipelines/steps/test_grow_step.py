"""Row steps with a condition: other rows get nulls and are never seen, and nothing is asked twice."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest
from tiny_bank import UNITS_ALONE, tiny_recipe

import mnemic
from mnemic.dataset import Store
from mnemic.errors import StepError
from mnemic.kept import KEPT
from operators.contracts import NO_REJECTS, Resources
from pipelines import faults
from pipelines import plan as planning
from pipelines import run as running
from pipelines.identity import Record
from pipelines.plan import plan
from pipelines.run import build
from pipelines.steps import steps_of
from pipelines.steps.grow import GrowStep

TEXTS = ("A table of columns.", "A list of leases.", "A graph of events.", "A book of tokens.")


@dataclasses.dataclass(frozen=True)
class Shout:
    """Texts in capitals and their lengths. Notes every text that it sees."""

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources()

    log: str = dataclasses.field(metadata={"identity": False})
    nullable: bool = True
    mute: str = ""

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema([pa.field("loud", pa.string(), self.nullable), pa.field("sizes", pa.list_(pa.int32(), 2))])

    def open(self, device):
        return self._shout

    def _shout(self, batch):
        texts = batch["text"].to_pylist()
        with Path(self.log).open("a") as log:
            log.writelines(json.dumps(text) + "\n" for text in texts)
        loud = pa.array([None if text == self.mute else text.upper() for text in texts], pa.string())
        sizes = pa.array([[len(text), 1] for text in texts], pa.list_(pa.int32(), 2))
        return pa.RecordBatch.from_arrays([loud, sizes], schema=self.output(batch.schema)), NO_REJECTS


@pytest.fixture
def corpus(tmp_path):
    place = tmp_path / "corpus"
    place.mkdir()
    for number, text in enumerate(TEXTS):
        dated(place / f"{number}.jsonl", text, 2020)
    dated(place / "copy.jsonl", TEXTS[0], 2021)
    return place


def dated(place, text, year) -> None:
    place.write_text(json.dumps({"text": text, "when": f"{year}-01-01T00:00:00Z"}) + "\n")


@pytest.fixture
def recipe(tmp_path, corpus):
    full = tiny_recipe(tmp_path, corpus, fragment_characters=40)
    return {name: full[name] for name in ("name", "bank", "sources", "fragment_characters")} | UNITS_ALONE


@pytest.fixture
def shouting(tmp_path, monkeypatch):
    """Every recipe of the test also has a step `shout`, as the keywords say."""

    def with_step(dataset="documents", after=("deduplicate",), where=KEPT, whole=False, **fields):
        def steps(loaded, device=None, *options):
            plan = steps_of(loaded, device, *options)
            record = Record("shout", 1, {}, {"read": plan[0].record.fingerprint})
            operator = Shout(str(tmp_path / "seen"), **fields)
            return [*plan, GrowStep(record, operator, dataset, ("id", "text"), after, whole, where)]

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


def columns(recipe) -> dict[str, tuple]:
    """Of every document what it is a copy of, and what the step says of it."""
    rows = mnemic.open_bank(recipe["bank"]).table("documents", ["locator", "duplicate_of", "loud", "sizes"]).to_pylist()
    return {row["locator"].partition(".")[0]: (row["duplicate_of"], row["loud"], row["sizes"]) for row in rows}


def as_built_at_once(recipe, tmp_path) -> dict[str, str]:
    fresh = {**recipe, "bank": str(tmp_path / "fresh")}
    build(fresh, device="cpu")
    return mnemic.open_bank(fresh["bank"]).digest()


@pytest.mark.parametrize("whole", [False, True], ids=["batches", "whole fragments"])
def test_the_operator_sees_no_row_outside_its_condition(recipe, shouting, tmp_path, whole):
    shouting(whole=whole)
    build(recipe, device="cpu")
    assert seen(tmp_path) == sorted(TEXTS), "the copy is not among them"
    rows = columns(recipe)
    assert rows["copy"][0] and rows["copy"][1:] == (None, None)
    assert {key: row[1:] for key, row in rows.items() if key != "copy"} == {
        str(number): (text.upper(), [len(text), 1]) for number, text in enumerate(TEXTS)
    }
    assert plan(recipe).nothing_to_do and not build(recipe, device="cpu").steps and seen(tmp_path) == []


def test_a_row_that_joins_is_asked_and_one_that_leaves_loses_its_values(recipe, corpus, shouting, tmp_path):
    build(recipe, device="cpu")
    seen(tmp_path)
    (corpus / "0.jsonl").unlink()
    build(recipe, device="cpu")
    assert seen(tmp_path) == [TEXTS[0]], "the copy alone: it is kept now"
    assert columns(recipe)["copy"] == ("", TEXTS[0].upper(), [len(TEXTS[0]), 1])
    assert not build(recipe, device="cpu").steps

    dated(corpus / "older.jsonl", TEXTS[1], 2001)
    build(recipe, device="cpu", rebalance=True)
    assert seen(tmp_path) == [TEXTS[1]]
    rows = columns(recipe)
    assert rows["older"][1] == TEXTS[1].upper() and rows["1"][0] and rows["1"][1:] == (None, None)
    assert not build(recipe, device="cpu").steps
    built = mnemic.open_bank(recipe["bank"]).digest()
    assert built["documents"] == as_built_at_once(recipe, tmp_path)["documents"]


def test_what_is_left_of_rows_that_changed_sides_is_pending(recipe, corpus, shouting, tmp_path):
    build(recipe, device="cpu")
    (corpus / "0.jsonl").unlink()
    build(recipe, device="cpu", until="deduplicate")
    (line,) = (step for step in plan(recipe).steps if step.step == "shout")
    assert line.kind == "pending" and 1 <= line.todo < 4


@pytest.mark.parametrize("commit", [2, *(pytest.param(one, marks=pytest.mark.slow) for one in (1, 3))])
def test_an_interrupted_step_is_carried_on(recipe, shouting, tmp_path, monkeypatch, commit):
    left = commit

    def reach(place, point):
        nonlocal left
        left -= (place, point) == ("shout", "after-commit")
        if left == 0:
            left = -1
            raise KeyboardInterrupt

    monkeypatch.setattr(faults, "reach", reach)
    with pytest.raises(KeyboardInterrupt):
        build(recipe, device="cpu", commit_every=1)
    build(recipe, device="cpu", commit_every=1)
    assert plan(recipe).nothing_to_do
    assert mnemic.open_bank(recipe["bank"]).digest() == as_built_at_once(recipe, tmp_path)


def test_a_condition_of_base_columns_holds_for_good(recipe, corpus, shouting, tmp_path):
    recipe = {**recipe, "embed": tiny_recipe(tmp_path, corpus)["embed"], "segment": {}}
    shouting("events", ("segment",), "level = 'event' AND NOT leaf")
    build(recipe, device="cpu")
    assert seen(tmp_path) == [], "one sentence is a leaf"
    events = Store(recipe["bank"])["events"].require()
    assert events.count("loud IS NULL AND sizes IS NULL") == events.count() > 0
    shouting("events", ("segment",), "leaf")
    build(recipe, device="cpu")
    assert plan(recipe).nothing_to_do


def test_fields_must_be_nullable(recipe, shouting):
    shouting(nullable=False)
    with pytest.raises(StepError, match="but loud may hold none"):
        build(recipe, device="cpu")


def test_null_says_that_a_row_was_not_asked_about(recipe, shouting):
    shouting(mute=TEXTS[2])
    with pytest.raises(StepError, match="left loud null for a row that it was asked about"):
        build(recipe, device="cpu")


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ("text", "adds a column text, which rows have already"),
        ("duplicate_of", "The steps deduplicate and shout both add a column duplicate_of to documents"),
    ],
)
def test_a_column_that_is_there_is_never_dropped(recipe, shouting, monkeypatch, column, sentence):
    """It would take the texts of a bank away, or the column of another step, in every build."""
    build(recipe, device="cpu")
    texts = mnemic.open_bank(recipe["bank"]).table("documents", ["id", "text", "duplicate_of"])
    monkeypatch.setattr(Shout, "output", lambda self, schema: pa.schema([pa.field(column, pa.string())]))
    with pytest.raises(StepError, match=sentence):
        build(recipe, device="cpu")
    assert Store(recipe["bank"])["documents"].require().table(["id", "text", "duplicate_of"]) == texts


def test_a_column_that_nobody_adds_is_a_sentence(recipe, shouting, monkeypatch):
    steps = running.steps_of

    def misnamed(*options):
        *others, last = steps(*options)
        return [*others, dataclasses.replace(last, columns=("id", "nowhere"))]

    monkeypatch.setattr(running, "steps_of", misnamed)
    with pytest.raises(StepError, match="The step shout reads nowhere of documents, which no step before it has added"):
        build(recipe, device="cpu")
