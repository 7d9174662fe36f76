"""Building: nothing twice, nothing stale, nothing lost, and a sentence for everything that can go wrong."""

import contextlib
import io
import json
import signal
import subprocess
import sys

import pytest
from tiny_bank import COLLECTIONS, UNITS_ALONE, TinyBank

import mnemic
from mnemic.dataset import Store
from mnemic.errors import BankError, BankInUse, ModelError, OtherRecipe, RecipeError, SourceError, TooManyRejects
from pipelines.command.build import Interruption
from pipelines.plan import plan
from pipelines.progress import TerminalLines
from pipelines.run import build
from pipelines.steps import contracts, rejects


@pytest.fixture
def copy(tiny, tmp_path):
    """A copy of the tiny bank and of its corpus, to change."""
    return tiny.copy_with_corpus(tmp_path)


def kinds(recipe) -> dict[str, str]:
    return {step.step: step.kind for step in plan(recipe).steps}


def small(tmp_path, text: str = "A first sentence about tables. A second one about columns.") -> dict:
    (tmp_path / "texts").mkdir(parents=True)
    (tmp_path / "texts" / "one.txt").write_text(text)
    return {
        "name": "small",
        "bank": str(tmp_path / "bank"),
        "sources": [{"kind": "folder", "path": str(tmp_path / "texts")}],
        **UNITS_ALONE,
    }


def test_a_build_walks_through_all_steps_and_ends_with_a_release(tmp_path):
    built = TinyBank.build(tmp_path)
    recipe, result, events = built.recipe, built.result, built.events
    assert [step.step for step in result.steps] == [
        "read", "signature", "deduplicate", "units", "embed", "segment", "cluster", "split", "datastore", "neighbours",
        "teacher", "imitate", "release",
    ]  # fmt: skip
    bank = mnemic.open_bank(recipe["bank"])
    assert bank.release.name == result.release.name
    counts = bank.release.counts
    assert counts["documents"] == 40 and counts["memories"] == 1
    dropped = bank.table("documents", ["locator", "duplicate_of"], "duplicate_of <> ''")["locator"].to_pylist()
    assert len(dropped) == 3, dropped
    assert {event.kind for event in events} >= {"run-start", "step-start", "progress", "step-end", "run-end", "reject"}


def test_every_event_belongs_to_a_document_and_every_unit_to_an_event(tiny):
    bank = tiny.open()
    events = bank.table("events").drop_columns(["vector"]).to_pylist()
    units = bank.table("units", ["document", "ordinal"]).to_pylist()
    assert {event["level"] for event in events} == {"session", "event", "passage"}
    for chosen in (lambda e: e["leaf"], lambda e: e["level"] == "event", lambda e: e["level"] == "session"):
        some = filter(chosen, events)
        covered = sorted((e["document"], n) for e in some for n in range(e["first_unit"], e["end_unit"]))
        assert covered == sorted((u["document"], u["ordinal"]) for u in units)
    by_id = {event["id"]: event for event in events}
    for event in events:
        above = by_id.get(event["parent"])
        assert (above is None) == (event["level"] == "session")
        assert above is None or above["first_unit"] <= event["first_unit"] < event["end_unit"] <= above["end_unit"]
        assert not event["next"] or by_id[event["next"]]["previous"] == event["id"]
    texts = dict(zip(*(bank.table("documents", ["id", "text"])[c].to_pylist() for c in ("id", "text")), strict=True))
    for event in events[:50]:
        assert event["text"].split() == texts[event["document"]][event["start"] : event["end"]].split()


def test_a_second_build_runs_nothing_and_writes_no_release(tiny):
    recipe = tiny.recipe
    before = [release.name for release in mnemic.open_bank(recipe["bank"]).releases()]
    again = build(recipe, device="cpu")
    assert again.steps == ()
    assert [again.release.name] == before == [release.name for release in mnemic.open_bank(recipe["bank"]).releases()]
    assert plan(recipe).nothing_to_do


def test_changing_a_field_reruns_its_step_and_what_depends_on_it_and_plan_names_it(copy):
    recipe, _ = copy
    changed = {**recipe, "segment": {**recipe["segment"], "mean_units": 4}}
    planned = {step.step: step for step in plan(changed).steps}
    assert planned["segment"].kind == "stale"
    assert planned["segment"].reasons == ("segment.mean_units: 2.0 -> 4.0",)
    assert planned["cluster"].kind == "stale" and "segment changed" in planned["cluster"].reasons
    assert planned["embed"].kind == planned["datastore"].kind == "done"
    result = build(changed, device="cpu")
    assert [step.step for step in result.steps] == ["segment", "cluster", "release"]


def test_another_threshold_costs_only_the_documents_whose_fate_it_changes(copy):
    recipe, _ = copy
    changed = {**recipe, "deduplicate": {"threshold": 0.999}}
    assert kinds(changed)["deduplicate"] == "stale"
    result = {step.step: step for step in build(changed, device="cpu").steps}
    assert result["embed"].rows < 30, "only the units of the near copy that is kept now"


def test_adding_a_document_costs_work_for_that_document(copy):
    recipe, corpus = copy
    (corpus / "alpha" / "new.txt").write_text(
        "Rivers carry sand to the sea. " * 3 + "The delta grows each year by some metres."
    )
    assert kinds(recipe)["read"] == "pending"
    result = {step.step: step for step in build(recipe, device="cpu").steps}
    assert result["read"].rows == 1
    assert result["signature"].rows == 1
    assert 1 <= result["embed"].rows <= 5
    assert "deduplicate" in result and "cluster" in result, "corpus steps are due"


def test_a_bank_that_grew_equals_one_built_at_once(copy, tmp_path):
    recipe, corpus = copy
    (corpus / "beta" / "new.txt").write_text(
        "Glaciers scrape valleys into the shape of a letter. They melt slowly in summer."
    )
    (corpus / "alpha" / "000.txt").unlink()
    build(recipe, device="cpu", recluster=True)  # without, events join the tree that there was
    fresh = {**recipe, "bank": str(tmp_path / "fresh")}
    build(fresh, device="cpu")
    assert mnemic.open_bank(recipe["bank"]).digest() == mnemic.open_bank(fresh["bank"]).digest()


def test_an_edited_document_replaces_the_old_one(copy):
    recipe, corpus = copy
    old = mnemic.open_bank(recipe["bank"])
    (corpus / "gamma" / "002.txt").write_text(
        "This file now says something else entirely. It speaks of lighthouses and fog."
    )
    build(recipe, device="cpu")
    new = mnemic.open_bank(recipe["bank"])
    where = "locator = 'gamma/002.txt'"
    assert old.table("documents", ["id"], where)["id"][0] != new.table("documents", ["id"], where)["id"][0]
    assert len(new.table("documents", ["id"], where)) == 1
    ids = set(new.table("documents", ["id"])["id"].to_pylist())
    assert set(new.table("events", ["document"])["document"].to_pylist()) <= ids
    assert mnemic.open_bank(recipe["bank"], old.release.name).digest() == old.digest(), "the old release stays"


@pytest.mark.slow
def test_commits_in_other_waves_and_fragments_of_other_size_give_the_same_digest(tiny, tmp_path):
    recipe = {**tiny.recipe, "bank": str(tmp_path / "bank"), "fragment_characters": 1500}
    build(recipe, device="cpu", commit_every=1)
    assert mnemic.open_bank(recipe["bank"]).digest() == tiny.open().digest()


def test_until_stops_without_a_release(tmp_path):
    recipe = small(tmp_path)
    assert build(recipe, until="units").release is None
    with pytest.raises(BankError, match="no release yet"):
        mnemic.open_bank(recipe["bank"])


def test_one_bank_one_recipe(copy):
    recipe, _ = copy
    other = {**recipe, "name": "other"}
    with pytest.raises(OtherRecipe, match="belongs to the recipe 'tiny'"):
        build(other)
    assert build(other, replace=True, device="cpu").steps == ()
    with pytest.raises(OtherRecipe):
        build(recipe)


def test_a_bank_in_use_is_refused(copy, monkeypatch):
    from mnemic.dataset import Store
    from mnemic.dataset.lease import Lease

    recipe, _ = copy
    with Lease(Store(recipe["bank"])["leases"], "first"), pytest.raises(BankInUse, match="run first"):
        build(recipe)


def test_rejects_keep_locator_and_reason(tiny):
    bank = tiny.open()
    rows = bank.store["rejects"].require().table(["step", "locator", "reason"]).to_pylist()
    reasons = {row["locator"]: row["reason"] for row in rows if row["step"] == "read"}
    assert "UTF-8" in reasons["delta/broken.txt"]
    assert "2" in json.dumps([locator for locator in reasons if "notes.jsonl" in locator] + list(reasons.values()))
    assert len(reasons) == 2


def test_a_missing_path_is_told_before_anything_is_written(tmp_path):
    recipe = small(tmp_path)
    recipe["sources"][0]["path"] = str(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="does not exist"):
        build(recipe)
    assert not (tmp_path / "bank").exists()


def test_an_empty_source_is_told(tmp_path):
    recipe = small(tmp_path)
    (tmp_path / "texts" / "one.txt").unlink()
    with pytest.raises(SourceError):
        build(recipe)


def test_a_source_of_which_nothing_can_be_read_is_told(tmp_path):
    recipe = small(tmp_path)
    (tmp_path / "texts" / "one.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(SourceError, match="No document could be read"):
        build(recipe)


def test_a_document_over_the_limit_is_a_reject(tmp_path):
    recipe = {**small(tmp_path), "max_document_bytes": 1000}
    (tmp_path / "texts" / "two.txt").write_text("long " * 500)
    result = build(recipe, until="read")
    assert (result.steps[0].rows, result.steps[0].rejects) == (1, 1)


def test_too_many_rejects_fail_the_step_and_keep_what_was_read(tmp_path):
    recipe = small(tmp_path)
    lines = [json.dumps({"text": f"Line {n} says something."}) for n in range(40)] + ['{"text": null}'] * 20
    (tmp_path / "texts" / "lines.jsonl").write_text("\n".join(lines))
    with pytest.raises(TooManyRejects, match="--failures"):
        build(recipe, until="read")
    result = build({**recipe, "max_rejects": 0.5}, until="read")
    assert result.steps == (), "everything had been read and committed"


@pytest.mark.parametrize("good", [(), pytest.param((30,), marks=pytest.mark.slow), (0, 59)])
def test_very_many_rejects_are_written_in_waves_and_each_is_there_once(tmp_path, monkeypatch, good):
    def rejects_of(recipe) -> list[dict]:
        columns = ["id", "locator", "reason", "severity", "input", "whole"]
        return Store(recipe["bank"])["rejects"].require().table(columns).sort_by("id").to_pylist()

    def broken_off(*arguments: object) -> None:
        raise KeyboardInterrupt

    recipe = {**small(tmp_path), "max_rejects": 1}
    lines = [json.dumps({"text": f"A good line, {n}."} if n in good else {"text": n}) + "\n" for n in range(60)]
    (tmp_path / "texts" / "many.jsonl").write_text("".join(lines))
    build(recipe, until="read")
    expected = rejects_of(recipe)
    for module in (rejects, contracts):
        monkeypatch.setattr(module, "REJECTS_AT_ONCE", 8)
    waved = {**recipe, "bank": str(tmp_path / "waved")}
    with monkeypatch.context() as patch:
        patch.setattr(contracts.Context, "_reject", broken_off)
        with pytest.raises(KeyboardInterrupt):
            build(waved, until="read")
    assert 40 < len(rejects_of(waved)) < 60 - len(good) and not any(row["whole"] for row in rejects_of(waved))
    build(waved, until="read")
    assert [{**row, "whole": None} for row in rejects_of(waved)] == [{**row, "whole": None} for row in expected]
    for bank in (recipe, waved):
        whole = {row["input"] for row in rejects_of(bank) if row["whole"]}
        assert len(whole) == (0 if good else 1)
    assert not build(waved, until="read").steps


def test_an_unknown_model_is_told_before_anything_runs(tmp_path):
    recipe = {**small(tmp_path), "embed": {"model": str(tmp_path / "no-model")}}
    with pytest.raises(ModelError):
        build(recipe)
    assert not (tmp_path / "bank").exists()


def test_a_corpus_without_anything_to_train_on_still_becomes_a_bank(tiny, tmp_path):
    recipe = {**tiny.recipe, "bank": str(tmp_path / "bank"), "sources": small(tmp_path)["sources"]}
    build(recipe, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    assert bank.release.counts["events"] >= 1
    assert bank.search("tables", words=50)[0].text.startswith("A first sentence")


def test_the_corpus_has_the_collections_that_the_split_needs(tiny):
    collections = set(tiny.open().table("documents", ["collection"])["collection"].to_pylist())
    assert collections >= set(COLLECTIONS)


def test_devices_that_are_not_there_are_told_before_anything_runs(tmp_path):
    for device, sentence in (("foo", "no device 'foo'; use cpu"), ("cuda:9", "torch sees .* cuda:9 cannot be used")):
        with pytest.raises(RecipeError, match=sentence):
            build({**small(tmp_path / device.replace(":", "")), "embed": {"dtype": "float32"}}, device=device)


def test_a_reader_of_the_progress_lines_may_leave(tmp_path):
    """`mnemic build ... | head` builds to the end."""

    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    result = build(small(tmp_path), device="cpu", sinks=[TerminalLines(Gone())])
    assert result.release is not None


def test_an_interruption_that_was_lost_is_raised_again(tmp_path, monkeypatch):
    """Python drops what a signal handler raises inside a destructor."""
    handlers = {}
    monkeypatch.setattr(signal, "signal", lambda number, handler: handlers.update({number: handler}))
    interruption = Interruption()
    recipe = small(tmp_path)

    def lose(event):
        if event.step == "units" and event.kind == "step-start":
            with contextlib.suppress(KeyboardInterrupt):
                handlers[signal.SIGINT](signal.SIGINT, None)

    with pytest.raises(KeyboardInterrupt):
        build(recipe, device="cpu", sinks=[lose, interruption])
    assert kinds(recipe)["deduplicate"] == "done" and kinds(recipe)["units"] == "new"


def test_planning_a_built_bank_imports_no_torch(tiny):
    code = (
        "import json, sys; from pipelines.plan import plan; found = plan(json.load(sys.stdin));"
        "print(found.nothing_to_do, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(tiny.recipe), capture_output=True, text=True, check=True
    )
    assert process.stdout.split() == ["True", "False", "False"]


def test_steps_that_need_no_torch_do_not_import_it(tmp_path):
    recipe = small(tmp_path)
    code = (
        "import json, sys; from pipelines.run import build; build(json.load(sys.stdin), until='units');"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, input=json.dumps(recipe), capture_output=True, text=True, check=True)
    assert process.stdout.split()[-2:] == ["False", "False"]
