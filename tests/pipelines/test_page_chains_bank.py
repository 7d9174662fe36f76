"""Pages of events that were read behind one another: exact prefixes, in a cache and at a prompt's begin."""

from dataclasses import replace

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_bank import TinyBank, write_corpus
from tiny_bank import tiny_recipe as recipe_of

import mnemic
from mnemic import languagemodel
from mnemic.attach import Host, detach
from mnemic.errors import ModelError
from mnemic.memories.pages import StoredPages, chained_first
from mnemic.pages.beginning import common_tokens
from mnemic.pages.page import Page, page_of
from mnemic.pages.reading import PageReader, page_ids
from mnemic.pages.shelf import EventPages
from mnemic.pages.standing import standing
from pipelines.steps.declared import resolved
from pipelines.steps.pages import Following

SETTINGS = {"dtype": "float32", "bits": 32, "tokens": 40, "longest": 320, "chain": True}
SECTIONS = ("name", "bank", "fragment_characters", "sources", "embed", "segment", "language_model", "pages")
PROMPT = "Release cluster query vector window memory."
GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 6}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("chains")
    recipe = recipe_of(root, write_corpus(root / "corpus", documents=7), pages=SETTINGS)
    recipe = {**{name: recipe[name] for name in SECTIONS}, "datastore": False, "cluster": False}
    return TinyBank(recipe, mnemic.build(recipe, device="cpu"), [])


@pytest.fixture(scope="module")
def loaded(built):
    return languagemodel.load(built.recipe["language_model"], "float32")


@pytest.fixture
def model(loaded):
    yield loaded[0]
    detach(loaded[0])


def chains(bank):
    """Documents -> their events in order, each (id, text, rows of its pages)."""
    rows = {}
    for row in bank.table("pages").sort_by("part").to_pylist():
        rows.setdefault(row["event"], []).append(row)
    documents = {}
    columns = ["id", "document", "ordinal", "text"]
    for event in bank.table("events", columns, "level = 'event'").sort_by("ordinal").to_pylist():
        documents.setdefault(event["document"], []).append((event["id"], event["text"], rows.get(event["id"], [])))
    return documents


def longest_of(bank):
    """The document with most events, of which two at least are in one chain."""
    return max(chains(bank).values(), key=len)


def test_an_event_is_read_behind_those_before_it_bit_for_bit(bank, loaded):
    model, tokenizer = loaded
    reader = PageReader(model)
    (sink,) = bank.table("pages", ["sink"]).slice(0, 1)["sink"].to_pylist()
    before = reader.read(sink).page
    links, starts = 0, 0
    for events in chains(bank).values():
        last, size, pages = "", 0, []
        for _, text, rows in events:
            (ids,) = page_ids(tokenizer, [text])
            if size + len(ids) > SETTINGS["longest"]:
                last, size, pages = "", 0, []
                starts += 1
            assert [token for row in rows for token in row["ids"]] == ids and rows[0]["behind"] == last
            for row in rows:
                read = reader.read(row["ids"], [before, *pages]).page
                stored = page_of(row)
                assert torch.equal(stored.keys, read.keys) and torch.equal(stored.values, read.values)
                pages.append(read)
            links, last, size = links + (last != ""), rows[-1]["id"], size + len(ids)
    assert links > 5 and starts > 0


def test_losses_are_of_the_page_behind_the_sink_alone(bank, loaded):
    model, tokenizer = loaded
    reader = PageReader(model)
    events = longest_of(bank)
    (_, text, rows), (_, after, _) = events[1], events[2]
    before = reader.read(rows[0]["sink"]).page
    own, following = page_ids(tokenizer, [text, after])
    alone = reader.losses(following[:64], [before, reader.read(own, [before]).page]).mean()
    moved = reader.losses(following[:64], [before, *map(page_of, rows)]).mean()
    assert rows[0]["loss_text"] == pytest.approx(float(alone), abs=1e-5)
    assert rows[0]["loss_page"] == pytest.approx(float(moved), abs=1e-5) and moved != alone


def test_any_split_and_order_of_events_writes_the_same_pages(built, bank):
    from pipelines.recipe import load_recipe

    settings = resolved(load_recipe(built.recipe).pages, "cpu")
    events = bank.view.dataset("events")
    columns = ["id", "document", "tenant", "text", "next", "ordinal"]
    documents = sorted(chains(bank))[:1]
    where = " OR ".join(f"document = '{one}'" for one in documents)
    some = events.table(columns, f"level = 'event' AND ({where})").sort_by(
        [("document", "ascending"), ("ordinal", "ascending")]
    )
    batch = some.combine_chunks().to_batches()[0]
    write = Following(settings, bank.store["events"], events.version).open("cpu")
    rows, rejects = write(batch)
    backwards = [write(batch.slice(at, 1))[0] for at in range(batch.num_rows - 1, -1, -1)]
    assert rejects.num_rows == 0 and pa.Table.from_batches(backwards[::-1]).equals(pa.Table.from_batches([rows]))
    stored = bank.table("pages", None, where).sort_by([("event", "ascending"), ("part", "ascending")])
    again = pa.Table.from_batches([rows]).sort_by([("event", "ascending"), ("part", "ascending")])
    assert again["check"].to_pylist() == stored["check"].to_pylist()


def test_the_exact_chain_stands_first_and_says_what_its_texts_say(bank, model, loaded, monkeypatch):
    tokenizer = loaded[1]
    (first, second), other = longest_of(bank)[:2], sorted(chains(bank).values(), key=len)[0][0]
    events = [(one[0], one[1]) for one in (other, first, second)]
    monkeypatch.setattr(StoredPages, "events", lambda self, query, tokenizer: events)
    ids = torch.tensor([tokenizer(PROMPT)["input_ids"][:20]])
    with bank.attached(model, "pages", tokens=400) as lm, torch.no_grad():
        attached = lm(input_ids=ids).logits
    reader = PageReader(model)
    pages = [reader.read(first[2][0]["sink"]).page]
    for row in (*first[2], *second[2]):
        pages.append(reader.read(row["ids"], pages).page)  # the texts one behind the other
    prefix = standing([[*pages, *map(page_of, other[2])]], model.dtype)
    with Host.of(model).prefix(prefix.keys, prefix.values, places=prefix.places, length=prefix.length), torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, attached)


def numbered(*links):
    """Events whose pages were read behind one another, as (behind, last, tokens)."""
    return [EventPages([Page(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), size)], *link) for *link, size in links]


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_the_longest_whole_chain_comes_first_and_the_rest_stays_in_order(order, absent):
    links = [("", "a", 3), ("a", "b", 3), ("b", "c", 3), ("", "x", 5), ("x", "y", 5), ("", "z", 1)]
    events = numbered(*links)
    there = [events[place] for place in order if place not in absent]
    ordered = chained_first(there)
    assert sorted(map(id, ordered)) == sorted(map(id, there))
    chains_there = []
    for chain in (events[:3], events[3:5]):
        whole = [one for number, one in enumerate(chain) if all(before in there for before in chain[: number + 1])]
        chains_there.append(whole if len(whole) > 1 else [])
    best = max(sum(one.tokens for one in chain) for chain in chains_there)
    if best:
        size = next(len(chain) for chain in chains_there if sum(one.tokens for one in chain) == best)
        assert sum(one.tokens for one in ordered[:size]) == best and ordered[0].behind == ""
        rest = [one for one in there if not any(one is other for other in ordered[:size])]
        assert [id(one) for one in ordered[size:]] == [id(one) for one in rest]
    else:
        assert [id(one) for one in ordered] == [id(one) for one in there]


def test_damaged_pages_that_go_round_have_an_end():
    events = numbered(("", "a", 1), ("a", "b", 1), ("b", "a", 1))
    assert chained_first(events) == events


def test_what_is_no_prompt_has_no_beginning(bank, model):
    begin = bank.memory("pages").beginnings(model)
    for prompt in (None, "Release", [1.5, 2.5], torch.tensor([0.5]), [[[1]]], {"input_ids": [1]}, 7):
        with pytest.raises(ModelError, match="list of token ids"):
            begin(prompt)
    with pytest.raises(ModelError, match="of one prompt"):
        begin([[1], [2]])
    for short in ([], torch.zeros(1, 0, dtype=torch.int64), begin.sink):
        assert begin(short)[1] == 0


def test_a_prompt_that_begins_with_texts_of_the_bank_need_not_read_them(bank, model, loaded):
    tokenizer = loaded[1]
    events = longest_of(bank)
    sink = events[0][2][0]["sink"]
    begun = [token for _, _, rows in events[:2] for row in rows for token in row["ids"]]
    third = [token for row in events[2][2] for token in row["ids"]]
    rest = tokenizer(PROMPT)["input_ids"][:12]
    begin = bank.memory("pages").beginnings(model)
    for cut, tail in ((len(third) // 2, rest), (0, rest), (0, [])):
        ids = torch.tensor([[*sink, *begun, *third[:cut], *tail]])
        cache, covered = begin(ids)
        common = common_tokens([*third, -1], [*third[:cut], *tail])
        assert covered == cache.get_seq_length() == min(len(sink) + len(begun) + common, ids.shape[1] - 1)
        reader = PageReader(model)
        pages = [reader.read(sink).page]
        for _, _, rows in events[:3]:
            for row in rows:
                pages.append(reader.read(row["ids"], pages).page)
        live, _ = reader.cache(pages)
        for layer, expected in zip(cache.layers, live.layers, strict=True):
            assert torch.equal(layer.keys, expected.keys[:, :, :covered])
            assert torch.equal(layer.values, expected.values[:, :, :covered])
        mask = torch.ones_like(ids)
        written = model.generate(ids, attention_mask=mask, past_key_values=cache, **GREEDY)
        assert torch.equal(written, model.generate(ids, attention_mask=mask, **GREEDY))


def test_only_pages_that_may_be_used_take_part(bank, model, loaded, tmp_path):
    from tiny_models import save_tiny_model

    events = longest_of(bank)
    sink = events[0][2][0]["sink"]
    ids = [*sink, *events[0][2][0]["ids"], *events[0][2][0]["ids"][:3]]
    memory = bank.memory("pages")
    assert memory.beginnings(model)(ids)[1] >= len(sink) + len(events[0][2][0]["ids"])
    assert memory.where({"collection": "nobody"}).beginnings(model)(ids)[1] == len(sink)
    assert memory.beginnings(model)([events[0][2][0]["ids"]])[1] == 0, "it does not begin with the sink"
    with pytest.raises(ModelError, match="a batch of 2"):
        memory.beginnings(model)(torch.tensor([ids, ids]))
    other = languagemodel.load(save_tiny_model(tmp_path / "other", seed=3), "float32")[0]
    with pytest.raises(ModelError, match="other weights"):
        memory.beginnings(other)
    assert not Host.hosts(model) and replace(memory, tokens=5).beginnings(model)(ids)[1] > len(sink)
