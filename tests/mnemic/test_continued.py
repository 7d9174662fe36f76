"""Texts are continued with memories as they stand in the store, and the memories leave the model as it was."""

import pytest
from tiny_bank import TinyBank

import mnemic
from mnemic.continued import CONTINUED, TEXTS, continuations, continued, shown
from mnemic.errors import BankError, QueryError
from mnemic.languagemodel import load
from mnemic.memories.kinds import of_models


@pytest.fixture(scope="module")
def model(tiny_full: TinyBank):
    return load(tiny_full.recipe["language_model"])


def test_a_text_of_the_store_goes_on_as_it_stands_there(tiny_full: TinyBank, model) -> None:
    bank, (_, tokenizer) = tiny_full.open(), model
    one = continued(bank, *model)
    assert one is not None and one.part == "store" and one.tokens == CONTINUED
    alone, remembered = one.generated
    assert (alone.memory, remembered.memory) == ("", "suffix")
    assert remembered.hits > alone.hits, "the tiny model alone knows nothing of it"
    row = bank.table("documents", ["locator", "text"], f"locator = '{one.locator}'").to_pylist()[0]
    assert tokenizer.decode(tokenizer(row["text"])["input_ids"][: 24 + CONTINUED]).startswith(one.prompt)
    assert continued(bank, *model) == one, "the memory has left the model"
    text = shown(one)
    assert one.locator in text and f"with suffix index, {remembered.hits} of {CONTINUED}" in text


def test_texts_that_memories_hold_and_held_out_ones_are_told_apart(tiny_full: TinyBank, model, monkeypatch) -> None:
    monkeypatch.setattr("mnemic.continued.CONTINUED", 6)
    bank, stages, memories = tiny_full.open(), list[str](), ["mlp", "suffix"]
    texts = continuations(bank, (), *model, memories=memories, doing=stages.append)
    assert [f"continuing texts with {name}" for name in memories] == stages[-len(memories) :]
    rows = {row["locator"]: row for row in bank.table("documents", ["locator", "text", "split"]).to_pylist()}
    assert [one.part for one in texts][:TEXTS] == ["store"] * TEXTS
    assert {one.part for one in texts[TEXTS:]} <= {"test-document", "test-collection"} and len(texts) > TEXTS
    for one in texts:
        assert rows[one.locator]["split"] == one.part and one.tokens == 6
        names = [output.memory for output in one.generated]
        assert names == ["", "mlp", "suffix"] if one.part == "store" else ["", "mlp"]
    ids = model[1](texts[0].prompt, return_tensors="pt")["input_ids"]
    alone = model[0].generate(ids, max_new_tokens=6, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    assert model[1].decode(alone, skip_special_tokens=True) == texts[0].generated[0].text, "without any memory"


def test_a_prompt_is_continued_and_nobody_knows_how_it_goes_on(tiny_full: TinyBank, model, monkeypatch) -> None:
    monkeypatch.setattr("mnemic.continued.CONTINUED", 6)
    bank = tiny_full.open()
    (one,) = continuations(bank, ["table index version"], *model, memories=["suffix"])
    assert (one.part, one.locator, one.prompt, one.text, one.tokens) == ("", "", "table index version", "", 0)
    assert [output.memory for output in one.generated] == ["", "suffix"]
    assert {output.hits for output in one.generated} == {0}
    assert "goes on there" not in shown(one)
    for prompt in ("", "  ", "word " * 5000):
        with pytest.raises(QueryError, match="from 1 to 512 tokens"):
            continuations(bank, [prompt], *model, memories=[])


@pytest.mark.slow
def test_every_kind_of_memory_continues(tiny_full: TinyBank, model) -> None:
    bank = tiny_full.open()
    memories = [info.name for info in of_models(bank.memories())]
    assert len(memories) > 6
    for one in continuations(bank, (), *model):
        names = [output.memory for output in one.generated]
        assert names == ["", *(name for name in memories if one.part == "store" or name != "suffix")]
    assert continued(bank, *model) == continued(bank, *model)


def test_a_bank_without_a_language_model_says_so(tmp_path, tiny: TinyBank) -> None:
    recipe = {
        name: tiny.recipe[name] for name in ("name", "sources", "embed", "segment", "cluster", "fragment_characters")
    }
    mnemic.build({**recipe, "bank": str(tmp_path / "bank")})
    with pytest.raises(BankError, match="language_model"):
        continued(mnemic.open_bank(tmp_path / "bank"))
