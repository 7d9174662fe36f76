"""A bank with pages: what the step writes, which events have some, and what a model with them says."""

import copy
import json
from dataclasses import replace

import pyarrow as pa
import pytest
import torch
from tiny_bank import TinyBank
from tiny_models import save_tiny_model

import mnemic
from mnemic import languagemodel
from mnemic.attach import Host, detach
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.dataset.write import append_rows
from mnemic.errors import BankError, ModelError, QueryError, RecipeError
from mnemic.pages.datasets import PAGES
from mnemic.pages.page import COLUMNS, page_of
from mnemic.pages.reading import PageReader, page_ids
from mnemic.pages.standing import standing
from operators.pages.operator import Pages
from pipelines.recipe import load_recipe

SECTIONS = ("name", "bank", "fragment_characters", "sources", "embed", "segment", "language_model", "split", "pages")
WHICH = "collection IN ('alpha', 'beta')"
SETTINGS = {"dtype": "float32", "bits": 32, "tokens": 40, "which": WHICH}
OFF = {"datastore": False, "cluster": False}
PROMPT = "Release cluster query vector window memory."
OTHER = "The lease of a bank is held by one writer."
GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 5}


@pytest.fixture(scope="module")
def tiny_pages(tmp_path_factory):
    split = {"tokens": 3000, "held_out_tokens": 400, "min_characters": 100, "max_document_tokens": 64}
    sections = (*SECTIONS, "suffixes", "datastore", "cluster")
    root = tmp_path_factory.mktemp("pages")
    return TinyBank.build(root, sections, pages=SETTINGS, split=split, suffixes={}, **OFF)


@pytest.fixture(scope="module")
def bank(tiny_pages):
    return tiny_pages.open()


@pytest.fixture(scope="module")
def loaded(tiny_pages):
    return languagemodel.load(tiny_pages.recipe["language_model"], "float32")


@pytest.fixture
def model(loaded):
    yield loaded[0]
    detach(loaded[0])


def ids_of(tokenizer, *texts):
    return torch.tensor([tokenizer(text)["input_ids"][:20] for text in texts])


def logits(model, ids, **more):
    with torch.no_grad():
        return model(input_ids=ids, **more).logits


def events(bank, where=WHICH):
    rows = bank.table(
        "events", ["id", "document", "tenant", "text", "next", "start_time"], f"level = 'event' AND {where}"
    )
    return {row["id"]: row for row in rows.to_pylist()}


def test_each_event_that_is_asked_for_has_pages_of_all_its_tokens(bank, loaded):
    rows = bank.table("pages").sort_by([("event", "ascending"), ("part", "ascending")]).to_pylist()
    listed, tokens = events(bank), {}
    for row in rows:
        tokens.setdefault(row["event"], []).extend(row["ids"])
        assert row["tokens"] == len(row["ids"]) <= 40 and (row["behind"] != "") == (row["part"] > 0)
        assert row["document"] == listed[row["event"]]["document"]
    expected = page_ids(loaded[1], [event["text"] for event in listed.values()])
    assert tokens == dict(zip(listed, expected, strict=True)) and max(row["part"] for row in rows) > 0
    (info,) = [info for info in bank.memories() if info.name == "pages"]
    assert info.config == {"pages": len(rows), "bits": 32, "without": 0} and info.metrics == {"weight": 1.0}


def test_losses_are_those_of_the_text_that_follows(bank, loaded):
    model, tokenizer = loaded
    texts = {one["id"]: one for one in events(bank, "true").values()}
    followed = 0
    for row in bank.table("pages", ["event", "part", "sink", "loss_none", "loss_text", "loss_page"]).to_pylist():
        event = texts[row["event"]]
        if row["part"] or not event["next"]:
            continue
        followed += 1
        own, after = page_ids(tokenizer, [event["text"], texts[event["next"]]["text"]])
        for name, before in (("loss_none", row["sink"]), ("loss_text", row["sink"] + own)):
            whole = torch.tensor([before + after[:64]])
            logs = logits(model, whole)[0, len(before) : -1].log_softmax(-1)
            loss = -logs.gather(1, whole[0, len(before) + 1 :, None]).mean()
            assert row[name] == pytest.approx(float(loss), abs=1e-4)
        assert row["loss_page"] == row["loss_text"], "pages of 32 bits are the text"
    assert followed > 5


def by_hand(bank, model, prompt, tokens):
    """The pages of the events that a search finds, behind the sink, as they would stand."""
    reader = PageReader(model)
    tokenizer = languagemodel.tokenizer_of(model)
    (sink,) = bank.table("pages", ["sink"], "part = 0").slice(0, 1)["sink"].to_pylist()
    pages = [reader.read(sink).page]
    query = tokenizer.decode(prompt, skip_special_tokens=True)
    hits = bank.search(query, level="event", tokens=tokens, tokenizer=lambda text: len(page_ids(tokenizer, [text])[0]))
    texts = page_ids(tokenizer, [hit.text for hit in hits])
    assert 0 < sum(map(len, texts)) <= tokens
    pages += [reader.read(ids, [pages[0]]).page for ids in texts]
    return pages, [hit.id for hit in hits]


def test_a_prompt_is_read_behind_the_pages_of_what_it_searches_each_row_its_own(bank, model, loaded):
    ids = ids_of(loaded[1], PROMPT, OTHER)
    bare = logits(model, ids)
    alone, continued, retrieved = [], [], []
    for row in ids:
        pages, names = by_hand(bank, model, row, tokens=120)
        retrieved.append(names)
        prefix = standing([pages], model.dtype)
        with Host.of(model).prefix(prefix.keys, prefix.values, places=prefix.places, length=prefix.length):
            alone.append(logits(model, row[None])[0])
            continued.append(model.generate(row[None], **GREEDY)[0])
    assert retrieved[0] != retrieved[1] and any(set(one) & set(events(bank)) for one in retrieved)
    with bank.attached(model, "pages", tokens=120) as lm:
        both = logits(lm, ids)
        generated = lm.generate(ids, attention_mask=torch.ones_like(ids), **GREEDY)
        beams = lm.generate(ids, attention_mask=torch.ones_like(ids), num_beams=2, **GREEDY)
    for row in range(2):
        torch.testing.assert_close(both[row], alone[row], atol=2e-4, rtol=0.0)
        assert torch.equal(generated[row], continued[row])
    assert beams.shape == generated.shape
    assert torch.equal(logits(model, ids), bare) and not Host.hosts(model)
    with bank.attached(model, {"pages": 0}) as lm:
        assert torch.equal(logits(lm, ids), bare)


def test_topics_conditions_and_memories_at_the_output_combine(bank, model, loaded):
    ids = ids_of(loaded[1], PROMPT)
    with bank.attached(model, "pages", topic=OTHER, tokens=100) as lm:
        about = logits(lm, ids)
    pages, _ = by_hand(bank, model, loaded[1](OTHER)["input_ids"], tokens=100)
    prefix = standing([pages], model.dtype)
    with Host.of(model).prefix(prefix.keys, prefix.values, places=prefix.places, length=prefix.length):
        torch.testing.assert_close(about, logits(model, ids), atol=2e-4, rtol=0.0)
    where = {"collection": "alpha"}
    narrow = bank.memory("pages").where(where)
    collections = {row["id"]: row["collection"] for row in bank.table("events", ["id", "collection"]).to_pylist()}
    assert {collections[event] for event, _ in narrow.events(PROMPT, loaded[1])} == {"alpha"}
    with bank.attached(model, {"pages": 1, "suffix": 0.3}, tokens=100) as lm:
        mixed = logits(lm, ids)
    with bank.attached(model, "pages", tokens=100) as lm:
        inside = logits(lm, ids)
    assert not torch.equal(mixed, inside) and torch.allclose(mixed.exp().sum(-1), torch.ones(1), atol=1e-4)
    apart = bank.memory("pages").about(OTHER).within(100, 0.5)
    with bank.attached(model, "pages", topic=OTHER, tokens=100, contiguity=0.5) as lm:
        neighbours = logits(lm, ids)
    with apart.enter(Host.of(model), 1.0):
        assert torch.equal(logits(model, ids), neighbours)
    with bank.attached(model, "pages", where={"tenant": "nobody"}) as lm:
        none = logits(lm, ids)
    assert torch.equal(none, logits(model, ids))
    with bank.attached(model, "pages", tokens=100) as lm:
        assert torch.equal(logits(copy.deepcopy(lm), ids), inside)


@pytest.mark.slow
def test_a_page_that_loses_more_than_its_bound_is_read_from_its_text(tiny_pages, tmp_path, model, loaded):
    recipe = tiny_pages.copy(tmp_path)
    mnemic.build({**recipe, "pages": {**SETTINGS, "bits": 4, "bound": 0.0}}, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    rows = bank.table("pages", ["event", "passed", "loss_text", "loss_page"]).to_pylist()
    assert {row["passed"] for row in rows} == {True, False}
    assert all(row["passed"] == (row["loss_page"] - row["loss_text"] <= 0) for row in rows)
    shelf, shape = bank.memory("pages").module, (4, 2, 8)
    refused = [row["event"] for row in rows if not row["passed"]]
    assert set(shelf.pages(sorted({row["event"] for row in rows}), shape)) == {
        row["event"] for row in rows if row["passed"]
    }
    text = {row["id"]: row["text"] for row in events(bank).values()}[refused[0]]
    memory = bank.memory("pages").about(text).within(len(page_ids(loaded[1], [text])[0]))
    assert [event for event, _ in memory.events(text, loaded[1])] == [refused[0]]
    reader = PageReader(model)
    (sink,) = bank.table("pages", ["sink"]).slice(0, 1)["sink"].to_pylist()
    before = reader.read(sink).page
    live = reader.read(page_ids(loaded[1], [text])[0], [before]).page
    prefix, ids = standing([[before, live]], model.dtype), ids_of(loaded[1], PROMPT)
    with Host.of(model).prefix(prefix.keys, prefix.values, places=prefix.places, length=prefix.length):
        expected = logits(model, ids)
    with memory.enter(Host.of(model), 1.0):
        assert torch.equal(logits(model, ids), expected)


@pytest.mark.slow
def test_an_evaluation_says_what_pages_lose_and_spare(bank, tiny_pages, tmp_path, capsys):
    rows = bank.table("pages", ["part", "tokens", "kv", "loss_none", "loss_text", "loss_page", "passed"]).to_pylist()
    assert main(["eval", bank.path, "--pages", "--json"]) == 0
    costs = json.loads(capsys.readouterr().out)
    first = [row for row in rows if row["part"] == 0]
    assert (costs["events"], costs["passed"], costs["without"]) == (len(first), len(first), 0)
    assert costs["tokens"] == sum(row["tokens"] for row in rows)
    assert costs["bytes"] == sum(len(row["kv"]) for row in rows)
    for name in ("none", "text", "page"):
        assert costs["losses"][name] == pytest.approx(sum(row[f"loss_{name}"] for row in first) / len(first))
    assert costs["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0} and costs["page_ms"] > 0
    assert main(["eval", bank.path, "--pages"]) == 0
    assert f"pages of {len(first)} events" in capsys.readouterr().out
    recipe = {**tiny_pages.copy(tmp_path), "pages": {**SETTINGS, "which": "retrieved"}}
    mnemic.build(recipe, device="cpu")
    assert main(["eval", recipe["bank"], "--pages"]) == 2
    assert "has no pages" in capsys.readouterr().err


@pytest.mark.slow
def test_the_budget_of_bytes_holds_and_a_larger_one_adds_pages(tiny_pages, tmp_path):
    recipe = tiny_pages.copy(tmp_path)
    whole = mnemic.open_bank(recipe["bank"]).table("pages")
    size = sum(len(kv) for kv in whole["kv"].to_pylist())
    small = {**recipe, "pages": {**SETTINGS, "max_gb": 0.4 * size / 1e9}}
    messages = []
    mnemic.build(small, device="cpu", sinks=[messages.append])
    bank = mnemic.open_bank(recipe["bank"])
    pages = bank.table("pages")
    there = {row["event"] for row in pages.select(["event"]).to_pylist()}
    assert 0.2 * size < sum(len(kv) for kv in pages["kv"].to_pylist()) <= 0.4 * size
    order = sorted(
        events(bank).values(),
        key=lambda one: (-(one["start_time"].timestamp() if one["start_time"] else -1e12), one["id"]),
    )
    assert there == {one["id"] for one in order[: len(there)]}, "the newest, then by id"
    (info,) = [info for info in bank.memories() if info.name == "pages"]
    assert info.config["without"] == len(order) - len(there)
    assert any(
        f"{info.config['without']:,} of {len(order):,} events have no pages" in (one.message or "") for one in messages
    )
    assert [step.step for step in mnemic.build(small, device="cpu").steps] == []
    digest = mnemic.open_bank(tiny_pages.recipe["bank"]).digest()["pages"]
    mnemic.build(recipe, device="cpu")
    assert mnemic.open_bank(recipe["bank"]).digest()["pages"] == digest


def test_events_have_pages_once_prompts_have_retrieved_them(tiny_pages, tmp_path, model, loaded):
    recipe = {**tiny_pages.copy(tmp_path), "pages": {**SETTINGS, "which": "retrieved"}}
    mnemic.build(recipe, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    ids = ids_of(loaded[1], PROMPT)
    assert [info.config["pages"] for info in bank.memories() if info.name == "pages"] == [0]
    with bank.attached(model, "pages", tokens=120) as lm:
        live = logits(lm, ids)
    assert not torch.equal(live, logits(model, ids))
    query = loaded[1].decode(ids[0])
    answering = {event for event, _ in bank.memory("pages").within(120).events(query, loaded[1])}
    assert [step.step for step in mnemic.build(recipe, device="cpu").steps] == ["pages", "release"]
    bank = mnemic.open_bank(recipe["bank"])
    assert {row["event"] for row in bank.table("pages", ["event"]).to_pylist()} == answering
    with bank.attached(model, "pages", tokens=120) as lm:
        torch.testing.assert_close(logits(lm, ids), live, atol=1e-5, rtol=0.0)


@pytest.mark.slow
def test_rows_that_are_lost_are_written_again_as_they_were(tiny_pages, tmp_path, monkeypatch):
    recipe = tiny_pages.copy(tmp_path)
    digest = mnemic.open_bank(recipe["bank"]).digest()["pages"]
    Store(recipe["bank"])["pages"].delete("event < '8'")
    with monkeypatch.context() as patched:
        patched.delattr("pipelines.steps.pages.choose")  # the choice is written down: no token is counted again
        mnemic.build(recipe, device="cpu")
    assert mnemic.open_bank(recipe["bank"]).digest()["pages"] == digest
    mnemic.remove(recipe["bank"], "locator = 'alpha/000.txt'")
    bank = mnemic.open_bank(recipe["bank"])
    left = {row["id"] for row in bank.table("events", ["id"]).to_pylist()}
    assert {row["event"] for row in bank.table("pages", ["event"]).to_pylist()} <= left


@pytest.mark.parametrize("select", ["kvzip", "memory3", "random", "ends"])
def test_any_split_into_batches_writes_the_same_rows(tiny_pages, bank, select):
    fields = load_recipe(tiny_pages.recipe).pages
    settings = Pages(model=fields.model, dtype="float32", bits=4, tokens=40, keep=0.5, select=select)
    some = list(events(bank).values())[:5]
    columns = {name: [one[name] for one in some] for name in ("id", "document", "tenant", "text")}
    batch = pa.RecordBatch.from_pydict({**columns, "following": ["", *columns["text"][1:]]})
    write = settings.open("cpu")
    rows, rejects = write(batch)
    assert rejects.num_rows == 0 and max(rows["rows"].to_pylist()) <= 20 and rows["places"].null_count == 0
    parts = [write(batch.slice(at, 1))[0] for at in (3, 0, 4, 1, 2)]
    alone = pa.Table.from_batches([parts[at] for at in (1, 3, 4, 0, 2)]).combine_chunks()
    assert pa.Table.from_batches([rows]).equals(alone)


def test_an_event_that_is_too_long_is_a_reject_and_one_of_nothing_has_no_page(tiny_pages):
    settings = Pages(model=tiny_pages.recipe["language_model"], dtype="float32", tokens=8, longest=16)
    texts = {
        "id": ["a", "b"],
        "document": ["d", "d"],
        "tenant": ["", ""],
        "text": ["word " * 40, ""],
        "following": ["", ""],
    }
    rows, rejects = settings.open("cpu")(pa.RecordBatch.from_pydict(texts))
    assert rows.num_rows == 0 and rejects["input"].to_pylist() == ["a"]
    assert "raise `longest`" in rejects["reason"][0].as_py()


@pytest.mark.parametrize(
    "wrong",
    [
        {"bits": 5},
        {"keep": 0},
        {"select": "best"},
        {"tokens": 1},
        {"longest": 5},
        {"max_gb": 0},
        {"sink": " "},
        {"bound": -1},
    ],
)
def test_settings_out_of_bounds_are_sentences(wrong):
    with pytest.raises(RecipeError, match=r"The setting \w+ of pages is"):
        Pages(**wrong)


def test_a_condition_that_is_none_is_a_sentence(tiny_pages, tmp_path):
    recipe = {**tiny_pages.copy(tmp_path), "pages": {**SETTINGS, "which": "colour = 'red'; DROP TABLE events"}}
    with pytest.raises(QueryError):
        mnemic.build(recipe, device="cpu")


def test_other_models_weights_and_budgets_are_refused(tiny_pages, bank, model, tmp_path):
    other, _ = languagemodel.load(save_tiny_model(tmp_path, seed=5), "float32")
    with pytest.raises(ModelError, match="other weights"):
        bank.attach(other, "pages")
    with pytest.raises(ModelError, match="is 1 or 0"):
        bank.attach(model, {"pages": 0.5})
    with pytest.raises(ModelError, match="has a budget of tokens"):
        bank.attach(model, "suffix", tokens=5)
    with pytest.raises(ModelError, match="leave `contiguity` out"):
        bank.attach(model, "suffix", contiguity=0.3)
    for share in (1, True, "some"):
        with pytest.raises(ModelError, match="from 0 to below 1"):
            bank.attach(model, "pages", contiguity=share)
    for tokens in (0, True, "many"):
        with pytest.raises(ModelError, match="a number of tokens"):
            bank.attach(model, "pages", tokens=tokens)
    sliding = {"sliding_window": 8}
    mistral, _ = languagemodel.load(save_tiny_model(tmp_path / "mistral", "mistral", **sliding), "float32")
    with pytest.raises(ModelError, match="sliding windows"):
        bank.memory("pages").enter(Host.of(mistral), 1.0)


def spoilt(row, **changes):
    return {**row, **changes}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda row: spoilt(row, kv=row["kv"][:-1] + bytes([row["kv"][-1] ^ 1])), "other bytes than were written"),
        (lambda row: spoilt(row, check=""), "other bytes than were written"),
        (lambda row: spoilt(row, rows=row["rows"] + 1), "tokens"),
        (lambda row: spoilt(row, layers=3), "and the model has"),
        (lambda row: spoilt(row, bits=7), "which no page has"),
        (lambda row: spoilt(row, tokens=1 << 20), "rows of"),
        (lambda row: spoilt(row, part=3), "are missing"),
    ],
)
def test_a_damaged_page_is_a_sentence(tiny_pages, tmp_path, bank, change, sentence):
    row = bank.table("pages", None, "part = 0").slice(0, 1).to_pylist()[0]
    recipe = tiny_pages.copy(tmp_path)
    dataset = Store(recipe["bank"])["pages"]
    dataset.delete(f"event = '{row['event']}'")
    append_rows(dataset, pa.Table.from_pylist([change(row)], schema=PAGES), PAGES, {})
    damaged = Store(recipe["bank"])["pages"].require()
    opened = mnemic.open_bank(recipe["bank"])
    opened.view.__dict__["_snapshots"] = {**opened.view._snapshots, "pages": damaged}
    with pytest.raises(BankError, match=sentence):
        opened.memory("pages").module.pages([row["event"]], (4, 2, 8))


def test_a_page_that_says_its_lock_wrongly_or_is_of_other_states_is_refused(tiny_pages, tmp_path, bank, model):
    first = bank.table("pages", ["id", *COLUMNS[1:], "ids"]).to_pylist()
    page = page_of(first[0])
    assert page.tokens == first[0]["tokens"] and json.loads(bank.table("pages", ["lock"])["lock"][0].as_py())["weights"]
    memory = bank.memory("pages")
    shelf = memory.module
    sample = shelf.sample((4, 2, 8))
    moved = type(page)(sample.page.keys.flip(0), sample.page.values, sample.page.tokens)
    shelf.sample = lambda shape: replace(sample, page=moved)
    with pytest.raises(ModelError, match="is not what this model has"):
        memory.enter(Host.of(model), 1.0)
