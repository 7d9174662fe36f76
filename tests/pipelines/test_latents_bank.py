"""A bank with latents: what the steps train, what a model with them says, and what goes with their texts."""

import copy
import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_bank import TinyBank, tiny_recipe, write_corpus
from tiny_models import save_tiny_model

import mnemic
from mnemic import languagemodel
from mnemic.attach import detach
from mnemic.attach.host import Host
from mnemic.dataset import Store
from mnemic.errors import BankError, ModelError, QueryError
from mnemic.ids import content_hash
from mnemic.latents.shelf import CartridgeShelf
from mnemic.pages.standing import standing
from pipelines.engine import choose_engine
from pipelines.evaluate.latents import cartridge_report, memory_token_report, shown_latents
from pipelines.recipe import load_recipe
from pipelines.steps import steps_of
from pipelines.steps.latent_texts import LatentTexts

CARTRIDGES = {
    **{"level": "document", "where": "collection <> 'zeta'", "most": 6, "min_tokens": 24, "max_tokens": 420},
    **{"rows": 12, "sequence": 12, "sampled": 4, "quoted": 2, "reread": 6, "held_out": 2},
    **{"bound": 1.0, "epochs": 2, "batch": 44, "learning_rate": 0.02, "stored": "float32", "dtype": "float32"},
}
TOKENS = {
    **{"level": "event", "where": "words = 1", "most": 3, "min_tokens": 2, "max_tokens": 4, "tokens_a_vector": 1},
    **{"steps": 40, "epochs": 10, "dtype": "float32"},
}
SHORT = ("Go.", "No.", "So.")
SECTIONS = (
    *("name", "bank", "fragment_characters", "sources", "embed", "segment", "cluster", "language_model"),
    *("split", "datastore", "cartridges", "memory_tokens"),
)
"""Of the recipe: no other memory is trained."""

OFF = {"split": False, "datastore": False}
TEXT = "The table of a column is held by one writer, and the lease expires."
OTHER = "Token vector gradient of a layer. Window document sentence event boundary."


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("latents")
    corpus = write_corpus(root / "corpus")
    for number, text in enumerate(SHORT):
        (corpus / "eta").mkdir(exist_ok=True)
        (corpus / "eta" / f"{number}.txt").write_text(text)
    recipe = tiny_recipe(root, corpus, cartridges=CARTRIDGES, memory_tokens=TOKENS, **OFF)
    recipe = {name: recipe[name] for name in SECTIONS}
    return TinyBank(recipe, mnemic.build(recipe, device="cpu"), [])


def ids_of(tokenizer, *texts):
    return torch.tensor([tokenizer(text)["input_ids"][:20] for text in texts])


def logits(model, ids, **more):
    with torch.inference_mode():
        return model(input_ids=ids, **more).logits


def attachable(bank):
    return bank.memory("cartridges").module.ids


def test_each_chosen_text_has_a_cartridge_with_its_losses_and_too_long_ones_are_rejects(built, bank):
    rows = bank.table("cartridges").to_pylist()
    texts = {
        row["id"]: row for row in bank.table("documents", ["id", "text", "collection", "duplicate_of"]).to_pylist()
    }
    assert len(rows) == 6 and all(texts[row["of"]]["collection"] != "zeta" for row in rows)
    assert all(not texts[row["of"]]["duplicate_of"] for row in rows)
    tokenizer = languagemodel.tokenizer(built.recipe["language_model"])
    for row in rows:
        text = texts[row["of"]]["text"]
        assert row["text"] == content_hash(text) and row["documents"] == [row["of"]] and row["events"] == []
        assert row["tokens"] == len(tokenizer(text)["input_ids"]) and row["rows"] == 12
        assert 0 < row["kl"] <= row["kl_start"] and row["ok"] == (row["kl"] < row["kl_none"])
        assert len(row["kv"]) == 2 * 4 * 2 * 12 * 8 * 4 and len(row["places"]) == 4 * 2 * 12 * 2
    rejects = bank.table("rejects", ["step", "reason", "input"]).to_pylist()
    long = [one for one in rejects if one["step"] == "cartridges"]
    assert long and all("raise `max_tokens`" in one["reason"] and one["input"] in texts for one in long)
    curve = {row["metric"] for row in bank.table("metrics", ["memory", "metric"]).to_pylist()}
    assert {f"train_kl/{row['of']}" for row in rows} <= curve
    (info,) = [info for info in bank.memories() if info.name == "cartridges"]
    assert info.metrics["texts"] == 6 and info.metrics["left_out_texts"] > 0 and info.metrics["training_flops"] > 0
    assert mnemic.build(built.recipe, device="cpu").steps == ()


@pytest.mark.slow
def test_the_digest_is_that_of_any_division_into_fragments(built, bank, tmp_path):
    recipe = {**built.recipe, "bank": str(tmp_path / "bank"), "fragment_characters": 1500}
    mnemic.build(recipe, device="cpu")
    other = mnemic.open_bank(recipe["bank"]).digest()
    names = ("cartridges", "memory_tokens", "memories", "metrics")
    assert {name: other[name] for name in names} == {name: bank.digest()[name] for name in names}


def test_a_prompt_is_read_with_the_cartridges_that_a_search_finds(bank, model, tokenizer):
    memory, ids = bank.memory("cartridges"), ids_of(tokenizer, TEXT, OTHER)
    plain = logits(model, ids)
    ways = [memory.finder.serving(tokenizer.decode(row)) for row in ids]
    assert all(1 <= len(way) <= 2 and set(way) <= set(attachable(bank)) for way in ways)
    bank.attach(model, "cartridges", tokenizer=tokenizer)
    attached = logits(model, ids)
    detach(model)
    assert torch.equal(logits(model, ids), plain)
    host = Host.of(model)
    for row, way, expected in zip(ids, ways, attached, strict=True):
        prefix = standing([[memory.sink, *(memory.module.cartridge(of) for of in way)]], memory.sink.keys.dtype)
        with host.prefix(prefix.keys, prefix.values, places=prefix.places, length=prefix.length):
            assert torch.allclose(logits(model, row[None])[0], expected, atol=1e-5)
    host.close()
    assert (attached - plain).abs().amax((1, 2)).min() > 1e-3


def test_generation_with_a_cache_beams_and_padding_says_what_rows_say_alone(bank, model, tokenizer):
    ids, (one, two) = ids_of(tokenizer, TEXT, OTHER), attachable(bank)[:2]
    memory, mask = bank.memory("cartridges").of([one, two], two), torch.ones_like(ids)
    ids[0, :6], mask[0, :6] = 0, 0
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    host = Host.of(model)
    for beams in (1, 3):
        with memory.enter(host, 1.0):
            together = model.generate(ids, attention_mask=mask, num_beams=beams, **options)
            whole = model.generate(ids, attention_mask=mask, num_beams=beams, use_cache=False, **options)
        assert torch.equal(together, whole)
        for way, row, here, line in zip(([one, two], [two]), ids, mask, together, strict=True):
            own = row[here.bool()][None]
            with bank.memory("cartridges").of(way).enter(host, 1.0):
                alone = model.generate(own, attention_mask=torch.ones_like(own), num_beams=beams, **options)
            assert torch.equal(alone[0, own.shape[1] :], line[ids.shape[1] :])
    with memory.enter(host, 1.0), pytest.raises(ModelError, match="2 rows of a batch"):
        logits(model, ids[:1].expand(3, -1))
    host.close()


def test_a_cartridge_says_what_its_row_says(bank, model, built):
    """The losses of a row are those of a model to which the cartridge is attached."""
    settings = load_recipe(built.recipe).cartridges
    trainer = settings.trainer(model, languagemodel.tokenizer(built.recipe["language_model"]))
    row = bank.table("cartridges").to_pylist()[0]
    stored = bank.memory("cartridges").module.form.unpacked(
        row["places"], row["kv"], row["rows"], row["tokens"], row["of"]
    )
    text = LatentTexts.open(Store(built.recipe["bank"]), settings).text(row["of"])
    _, none, own = trainer.losses(text, trainer.opened(text), None, stored)
    assert own.mean_kl == pytest.approx(row["kl"], abs=1e-5) and none.mean_loss == pytest.approx(row["loss_none"])
    assert own.mean_loss == pytest.approx(row["loss"], abs=1e-5)


@pytest.mark.slow
def test_the_first_rows_stand_as_a_text_of_their_own(built, model, tmp_path):
    """The prompt comes right behind them, where it was in training."""
    recipe = built.copy(tmp_path)
    mnemic.build({**recipe, "cartridges": {**CARTRIDGES, "start": "first"}}, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    memory, ids = bank.memory("cartridges"), torch.arange(40, 60)[None]
    of = memory.module.ids[0]
    rows = memory.module.cartridge(of)
    (tokens,) = bank.table("cartridges", ["tokens"], f"of = '{of}'")["tokens"].to_pylist()
    assert rows.tokens == rows.rows == 12 < tokens
    trainer = load_recipe({**recipe, "cartridges": CARTRIDGES}).cartridges.trainer(
        model, languagemodel.tokenizer(recipe["language_model"])
    )
    with torch.inference_mode():
        hidden = trainer.reader.hidden(ids, trainer.standing(rows))
    with memory.of(of).enter(Host.of(model), 1.0):
        assert torch.allclose(logits(model, ids), hidden @ trainer.reader.head.T, atol=1e-4)


@pytest.mark.slow
def test_one_that_loses_more_than_its_bound_is_never_attached(built, model, tmp_path):
    recipe = built.copy(tmp_path)
    strict = {**recipe, "cartridges": {**CARTRIDGES, "bound": 1e-6, "most": 2, "epochs": 0}}
    mnemic.build(strict, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    rows = bank.table("cartridges", ["of", "ok"]).to_pylist()
    assert len(rows) == 2 and not any(row["ok"] for row in rows)
    memory = bank.memory("cartridges")
    with pytest.raises(BankError, match="loses more than its bound"):
        memory.of(rows[0]["of"])
    ids = torch.arange(40, 60)[None]
    plain = logits(model, ids)
    with bank.attached(model, "cartridges") as lm:
        assert torch.equal(logits(lm, ids), plain), "no text has one, so the model answers alone"
    assert mnemic.build(recipe, device="cpu").steps, "the settings of before train them again"


def test_new_texts_train_alone_and_what_leaves_takes_its_latents_along(built, tmp_path, model):
    recipe, _ = built.copy_with_corpus(tmp_path)
    before = {row["of"]: row for row in mnemic.open_bank(recipe["bank"]).table("cartridges").to_pylist()}
    longest = max(before.values(), key=lambda row: row["tokens"])
    outcome = mnemic.remove(recipe["bank"], f"id = '{longest['of']}'")
    assert outcome.datasets["cartridges"] == 1 and "cartridges" not in outcome.memories
    bank = mnemic.open_bank(recipe["bank"])
    left = {row["of"]: row for row in bank.table("cartridges").to_pylist()}
    assert left == {of: row for of, row in before.items() if of != longest["of"]}
    assert not bank.stale() and bank.trained_on(longest["of"])["cartridges"] == ""
    some = next(iter(left))
    assert bank.trained_on(some)["cartridges"] == "store"
    events = set(bank.table("events", ["id"])["id"].to_pylist())
    assert {one for row in bank.table("memory_tokens", ["events"]).to_pylist() for one in row["events"]} <= events
    with bank.attached(model, "cartridges") as lm:
        logits(lm, torch.arange(40, 60)[None])
    with pytest.raises(BankError, match="has no cartridge"):
        bank.memory("cartridges").of(longest["of"])
    mnemic.build(recipe, device="cpu")
    after = {row["of"]: row for row in mnemic.open_bank(recipe["bank"]).table("cartridges").to_pylist()}
    assert len(after) == 6 and all(after[of] == row for of, row in left.items()), "the others were not trained again"


def test_conditions_weights_and_counts(bank, model, tokenizer):
    memory, ids = bank.memory("cartridges"), ids_of(tokenizer, TEXT)
    collections = {row["id"]: row["collection"] for row in bank.table("documents", ["id", "collection"]).to_pylist()}
    text = tokenizer.decode(ids[0])
    here = collections[memory.finder.serving(text)[0]]
    narrow = memory.where({"collection": here})
    assert {collections[of] for of in narrow.finder.serving(text)} == {here}
    assert memory.where({"collection": "zeta"}).finder.serving(text) == []
    assert len(memory.best(3).finder.serving(text)) == 3 and len(memory.best(1).finder.serving(text)) == 1
    plain = logits(model, ids)
    bank.attach(model, {"cartridges": 0}, tokenizer=tokenizer)
    assert torch.equal(logits(model, ids), plain)
    with pytest.raises(ModelError, match=r"its weight is 0 or 1, got 0\.5"):
        bank.attach(model, {"cartridges": 0.5}, tokenizer=tokenizer)
    with pytest.raises(QueryError, match="1 to 256 cartridges"):
        memory.best(0)
    bank.attach(model, "cartridges", where={"collection": "zeta"}, tokenizer=tokenizer)
    assert torch.equal(logits(model, ids), plain)
    bank.attach(model, "cartridges", tokenizer=tokenizer)
    with pytest.raises(ModelError, match="this one has embeddings"):
        model(inputs_embeds=model.get_input_embeddings()(ids))
    copied = copy.deepcopy(model)
    assert torch.equal(logits(copied, ids), logits(model, ids))
    detach(model)


def test_another_model_and_changed_bytes_are_refused(bank, tmp_path):
    other = languagemodel.load(save_tiny_model(tmp_path / "other", seed=1), "float32")[0]
    with pytest.raises(ModelError, match="other weights"):
        bank.attach(other, "cartridges")
    gpt = languagemodel.load(save_tiny_model(tmp_path / "gpt2", "gpt2"), "float32")[0]
    with pytest.raises(ModelError, match="learnt positions"):
        bank.memory("cartridges").enter(Host.of(gpt), 1.0)
    rows = bank.table("cartridges").to_pylist()
    form = bank.memory("cartridges").form
    kv = np.frombuffer(rows[0]["kv"], np.float32).copy()
    kv[5] = np.inf
    with pytest.raises(ModelError, match="numbers that are none"):
        form.unpacked(rows[0]["places"], kv.tobytes(), rows[0]["rows"], rows[0]["tokens"], "x")
    with pytest.raises(ModelError, match="bytes where its memory says"):
        form.unpacked(rows[0]["places"], rows[0]["kv"][:-4], rows[0]["rows"], rows[0]["tokens"], "x")

    class Changed(CartridgeShelf):
        """One whose rows come with another byte."""

        def __init__(self, view, own):
            super().__init__(view, own)
            self.view = self

        def dataset(self, name):
            return self

        def take(self, places, columns):
            table = bank.view.dataset("cartridges").take(places, columns)
            cell = bytearray(table["kv"][0].as_py())
            cell[7] ^= 1
            return table.set_column(1, table.schema.field(1), pa.array([bytes(cell)], table.schema.field(1).type))

    with pytest.raises(ModelError, match="its check differs"):
        Changed(bank.view, form).cartridge(attachable(bank)[0])


def test_memory_tokens_write_their_texts_back_and_stand_before_a_prompt(bank, model, tokenizer):
    rows = bank.table("memory_tokens").to_pylist()
    memory = bank.memory("memory_tokens")
    texts = {row["id"]: row["text"] for row in bank.table("events", ["id", "text"]).to_pylist()}
    exact = [row for row in rows if row["exact"]]
    assert len(rows) == 3 and exact and set(memory.module) == {row["of"] for row in exact}
    for row in exact:
        assert memory.recall(model, row["of"]) == texts[row["of"]] and row["events"] == [row["of"]]
        assert row["right"] == row["tokens"] and json.loads(row["metrics"])["trained_tokens"] > 0
    with pytest.raises(BankError, match="no exact memory token"):
        memory.vectors("nobody")
    ids = ids_of(tokenizer, TEXT)
    options = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    best = [memory.recall_ids(model, of) for of in memory.finder.serving(tokenizer.decode(ids[0]))]
    end = tokenizer("\n", add_special_tokens=False)["input_ids"]
    before = torch.tensor([[token for one in best for token in (*one, *end)]])
    longer = torch.cat([before, ids], 1)
    expected = model.generate(longer, attention_mask=torch.ones_like(longer), **options)[0, longer.shape[1] :]
    with bank.attached(model, "memory_tokens", tokenizer=tokenizer) as lm:
        written = lm.generate(ids, attention_mask=torch.ones_like(ids), **options)
    assert torch.equal(written[0, ids.shape[1] :], expected) and torch.equal(written[:, : ids.shape[1]], ids)
    with torch.no_grad():
        model.get_input_embeddings().weight.add_(0.5 * torch.randn(320, 32, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(ModelError, match="does not give its text back here"):
        memory.recall(model, exact[0]["of"])


def test_an_evaluation_says_what_they_lose(bank):
    report, tokens = cartridge_report(bank), memory_token_report(bank)
    rows = bank.table("cartridges", ["kl", "kl_none", "rows", "tokens"]).to_pylist()
    share = 1 - sum(row["kl"] for row in rows) / sum(row["kl_none"] for row in rows)
    assert report.worth.value == pytest.approx(share, rel=1e-5) and report.worth.low <= share <= report.worth.high
    assert report.bytes == 6 * 2 * 4 * 2 * 12 * 8 * 4 and report.text_tokens == sum(row["tokens"] for row in rows)
    lines = "\n".join(shown_latents(report, tokens))
    assert "with the cartridge" in lines and f"memory tokens: {tokens.exact} of 3 texts" in lines
    assert shown_latents(None, None) == []


@pytest.mark.slow
@pytest.mark.parametrize("level", ["event", "node"])
def test_events_and_nodes_have_cartridges_too(built, tmp_path, level, model, tokenizer):
    recipe = built.copy(tmp_path)
    own = {**CARTRIDGES, "level": level, "where": "level > 0" if level == "node" else None, "epochs": 4, "most": 3}
    mnemic.build({**recipe, "cartridges": own}, device="cpu")
    bank = mnemic.open_bank(recipe["bank"])
    rows, memory = bank.table("cartridges").to_pylist(), bank.memory("cartridges")
    assert len(rows) == 3 and all(row["level"] == level and row["events"] and row["documents"] for row in rows)
    if level == "node":
        nodes = {row["path"]: row["examples"] for row in bank.table("clusters", ["path", "examples"]).to_pylist()}
        assert all(row["events"] == nodes[row["of"]] for row in rows)
    with memory.of(memory.module.ids[0]).enter(Host.of(model), 1.0):
        logits(model, ids_of(tokenizer, TEXT))
    bank.attach(model, "cartridges", tokenizer=tokenizer)
    logits(model, ids_of(tokenizer, TEXT, OTHER))
    detach(model)


def test_the_step_says_why_it_is_to_run_again_and_what_its_level_lacks(built):
    store = Store(built.recipe["bank"])
    changed = {**built.recipe, "cartridges": {**CARTRIDGES, "rows": 4}}
    step = {one.name: one for one in steps_of(load_recipe(changed), "cpu")}["cartridges"]
    assert step.state(store).kind == "stale" and step.state(store).reasons == ("cartridges.rows: 12 -> 4",)
    wrong = {**built.recipe, "cartridges": {**CARTRIDGES, "where": "nothing = 1"}}
    step = {one.name: one for one in steps_of(load_recipe(wrong), "cpu")}["cartridges"]
    with pytest.raises(QueryError, match="nothing"):
        step.state(store)


@pytest.mark.slow
def test_any_number_of_workers_trains_the_same_latents(built, bank, tmp_path):
    recipe = {**built.recipe, "bank": str(tmp_path / "bank")}
    mnemic.build(recipe, device="cpu", engine=choose_engine("ray", workers=2))
    assert mnemic.open_bank(recipe["bank"]).digest() == bank.digest()
