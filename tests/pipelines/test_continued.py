"""A text of the store is continued with a memory as it stands there, and the memory leaves the model as it was."""

import pytest
from tiny_bank import TinyBank

import mnemic
from mnemic.errors import BankError
from mnemic.languagemodel import load
from pipelines.continued import CONTINUED, continued, shown


def test_a_text_of_the_store_goes_on_as_it_stands_there(tiny_full: TinyBank) -> None:
    bank = tiny_full.open()
    model, tokenizer = load(tiny_full.recipe["language_model"])
    one = continued(bank, model, tokenizer)
    assert one is not None and one.memory == "suffix" and one.tokens == CONTINUED
    assert one.hits[1] > one.hits[0], "the tiny model alone knows nothing of it"
    row = bank.table("documents", ["locator", "text"], f"locator = '{one.locator}'").to_pylist()[0]
    assert tokenizer.decode(tokenizer(row["text"])["input_ids"][: 24 + CONTINUED]).startswith(one.prompt)
    again = continued(bank, model, tokenizer)
    assert again == one, "the memory has left the model"
    text = shown(one)
    assert one.locator in text and f"{one.hits[1]} of {CONTINUED}" in text and "Chosen" in text


def test_a_bank_without_a_language_model_says_so(tmp_path, tiny: TinyBank) -> None:
    recipe = {
        name: tiny.recipe[name] for name in ("name", "sources", "embed", "segment", "cluster", "fragment_characters")
    }
    mnemic.build({**recipe, "bank": str(tmp_path / "bank")})
    with pytest.raises(BankError, match="language_model"):
        continued(mnemic.open_bank(tmp_path / "bank"))
