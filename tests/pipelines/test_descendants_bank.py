"""The way of a text into a model: pages, cartridges that start from them, parameters; and what a removal leaves."""

import json

import pyarrow as pa
import pytest
from tiny_bank import TinyBank, tiny_recipe, write_corpus

import mnemic
from mnemic import languagemodel
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.dataset.write import append_rows
from mnemic.errors import RecipeError, StepError
from mnemic.pages.datasets import RETRIEVED
from mnemic.pages.reading import page_ids
from mnemic.verify import datasets_of
from pipelines.options import BuildOptions
from pipelines.recipe import load_recipe
from pipelines.steps import steps_of
from pipelines.stretch import check_ground

PAGES = {"dtype": "float32", "bits": 32, "tokens": 40}
WHERE = "text LIKE '%uokka%' OR (collection = 'beta' AND ordinal < 2)"
"""A handful of events: each cartridge is some commits."""

CARTRIDGES = {
    **{
        "level": "event",
        "start": "page",
        "where": WHERE,
        "min_tokens": 12,
        "max_tokens": 420,
        "rows": 6,
        "sequence": 8,
    },
    **{"sampled": 1, "reread": 1, "held_out": 1, "bound": 1.0, "epochs": 0, "stored": "float32", "dtype": "float32"},
}
CANARY = "Quokka lanterns drift over marble harbours while patient otters count amber pebbles in silence. "


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("line")
    corpus = write_corpus(root / "corpus", documents=4)
    (corpus / "alpha" / "canary.txt").write_text(CANARY * 2 + "The lease of a bank is held by one writer. It expires.")
    split = {"tokens": 3000, "held_out_tokens": 100, "min_characters": 100, "max_document_tokens": 64}
    imitate = {"epochs": 1, "batch": 256, "blocks": 1, "dtype": "float32"}
    more = {"pages": PAGES, "cartridges": CARTRIDGES, "split": split, "imitate": imitate, "cluster": False}
    recipe = tiny_recipe(root, corpus, **more)
    return TinyBank(recipe, mnemic.build(recipe, device="cpu"), [])


def canary_of(bank):
    (row,) = bank.table("documents", ["id", "text"], "locator = 'alpha/canary.txt'").to_pylist()
    return row


def test_cartridges_name_the_pages_that_they_started_from(bank, built):
    pages = {}
    for row in bank.table("pages", ["event", "part", "id", "passed", "tokens"]).sort_by("part").to_pylist():
        pages.setdefault(row["event"], []).append(row)
    rows = bank.table("cartridges", ["of", "events", "start", "pages", "tokens", "kl", "kl_start"]).to_pylist()
    assert rows and all(row["events"] == [row["of"]] and row["start"] == "page" for row in rows)
    for row in rows:
        own = pages[row["of"]]
        assert row["pages"] == [page["id"] for page in own]
        assert row["tokens"] == sum(page["tokens"] for page in own), "the text is that which the pages were read from"
    assert max(len(row["pages"]) for row in rows) > 1
    assert mnemic.build(built.recipe, device="cpu").steps == ()


def test_a_document_leads_to_its_pages_cartridges_and_parameters(bank, capsys):
    document = canary_of(bank)
    events = set(bank.table("events", ["id"], f"document = '{document['id']}' AND level = 'event'")["id"].to_pylist())
    rows = bank.descendants(document["id"][:16])
    assert {page["event"] for page in rows.pages} == events and rows.memory_tokens == ()
    assert {row["of"] for row in rows.cartridges} <= events and rows.cartridges
    pages = {page["id"] for page in rows.pages}
    assert all(set(row["pages"]) <= pages and row["pages"] for row in rows.cartridges)
    assert bank.trained_on(document["id"]) == {"mlp": "store", "knn": "store", "cartridges": "store", "pages": "store"}
    assert main(["why", bank.path, document["id"][:16]]) == 0
    story = capsys.readouterr().out
    assert f"{len(rows.pages)} pages of {len(events)} events" in story and "memory mlp: was trained on it" in story
    one = rows.cartridges[0]
    own = f"{len(one['pages'])} page{'' if len(one['pages']) == 1 else 's'} of it"
    assert f"cartridge of the event {one['of'][:12]}: 6 rows for {one['tokens']} tokens, from {own}, untrained" in story
    assert main(["why", bank.path, one["of"][:16], "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [row["of"] for row in facts["cartridges"]] == [one["of"]]
    assert [page["id"] for page in facts["pages"]] == one["pages"]


def holding(store, words, ids):
    """The datasets whose newest version has one of ``words`` in a text, or the tokens ``ids`` in a list."""
    run = ",".join(map(str, ids))
    places = set()
    for name in datasets_of(store):
        head = store[name].snapshot()
        plain = [
            field.name
            for field in head.schema
            if pa.types.is_string(field.type) or pa.types.is_large_string(field.type) or pa.types.is_list(field.type)
        ]
        for row in head.table(plain).to_pylist() if plain else ():
            for value in row.values():
                text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
                if any(word in text for word in words) or f",{run}," in f",{text},":
                    places.add(name)
    return places


def test_a_removed_source_leaves_nothing_of_itself_and_marks_what_learnt_it(built, tmp_path):
    recipe = built.copy(tmp_path)
    store, bank = Store(recipe["bank"]), mnemic.open_bank(recipe["bank"])
    document = canary_of(bank)
    events = bank.table("events", ["id", "text", "level"], f"document = '{document['id']}'").to_pylist()
    first = next(row for row in events if row["level"] == "event" and "Quokka" in row["text"])
    other = bank.table("events", ["id"], f"level = 'event' AND document <> '{document['id']}'")["id"][0].as_py()
    retrieved = pa.table({"event": [first["id"], other]}, schema=RETRIEVED)
    append_rows(store["retrieved"], retrieved, RETRIEVED, {})
    tokenizer = languagemodel.tokenizer(recipe["language_model"])
    run = page_ids(tokenizer, [first["text"]])[0][:10]
    words = ("Quokka", document["id"], *(row["id"] for row in events))
    before = holding(store, words, run)
    assert {"documents", "units", "events", "datastore", "pages", "cartridges", "retrieved"} <= before
    outcome = mnemic.remove(recipe["bank"], "locator = 'alpha/canary.txt'")
    assert outcome.datasets["pages"] > 1 and outcome.datasets["cartridges"] > 0 and set(outcome.memories) == {"mlp"}
    assert holding(store, words, run) <= {"removals", "runs"}, "which name the id alone"
    assert store["retrieved"].require().table(["event"])["event"].to_pylist() == [other]
    bank = mnemic.open_bank(recipe["bank"])
    assert set(bank.stale()) == {"mlp"} and bank.trained_on(document["id"])["mlp"] == "removed"
    assert bank.trained_on(document["id"])["pages"] == bank.trained_on(document["id"])["cartridges"] == ""


@pytest.mark.slow
def test_a_text_whose_page_is_gone_starts_from_itself_and_other_cartridges_stay(built, bank, tmp_path):
    recipe = built.copy(tmp_path)
    before = {row["of"]: row for row in bank.table("cartridges").to_pylist()}
    newest = bank.table("pages", ["event"])["event"].to_pylist()
    lost = next(of for of in before if of in newest)
    mnemic.build({**recipe, "pages": {**PAGES, "which": f"id <> '{lost}'"}}, device="cpu")
    after = {row["of"]: row for row in mnemic.open_bank(recipe["bank"]).table("cartridges").to_pylist()}
    assert after[lost]["start"] == "picked" and after[lost]["pages"] == []
    assert {of: row for of, row in after.items() if of != lost} == {of: row for of, row in before.items() if of != lost}


def test_a_plan_says_that_cartridges_may_change_with_their_pages(built):
    lines = {line.step: line for line in mnemic.plan(built.recipe, device="cpu").steps}
    assert lines["pages"].kind == lines["cartridges"].kind == "done"
    changed = {**built.recipe, "pages": {**PAGES, "bits": 8}}
    lines = {line.step: line for line in mnemic.plan(changed, device="cpu").steps}
    assert (lines["pages"].kind, lines["cartridges"].kind) == ("stale", "after")
    assert "pages" in lines["cartridges"].reasons[0] and lines["imitate"].kind == "done"
    steps, store = steps_of(load_recipe(changed), "cpu"), Store(built.recipe["bank"])
    with pytest.raises(RecipeError, match="pages before it has work left"):
        check_ground(steps, BuildOptions(only="cartridges"), store)
    records = {step.name: step.record.fingerprint for step in steps}
    before = {step.name: step.record.fingerprint for step in steps_of(load_recipe(built.recipe), "cpu")}
    assert records["cartridges"] == before["cartridges"], "only the pages of a cartridge's own text are part of it"


def test_pages_that_are_not_there_or_of_another_level_are_sentences(built, tmp_path):
    plain = {name: value for name, value in built.recipe.items() if name != "pages"}
    step = {one.name: one for one in steps_of(load_recipe(plain), "cpu")}["cartridges"]
    with pytest.raises(StepError, match="this bank has none; add the section `pages`"):
        step._refuse_pages(None)
