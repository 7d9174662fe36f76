"""What a build reads in a bank as JSON is other than mnemic wrote it: a sentence each, and no traceback."""

import pytest

import mnemic
from mnemic.dataset import Store
from mnemic.errors import BankError
from mnemic.facts import numbers

BROKEN = {"digits": "9" * 5000, "escape": '"\x1b]0;owned', "list": "[1]", "deep": "[" * 5000, "nothing": ""}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_record_of_a_memory(tiny, tmp_path, text):
    recipe = tiny.copy(tmp_path)
    native = Store(recipe["bank"])["memories"].require().native
    native.update({"record": "'" + text + "'"})
    if text:
        with pytest.raises(BankError, match="mnemic verify"):
            mnemic.build(recipe, device="cpu")
    else:
        mnemic.build(recipe, device="cpu")


@pytest.mark.parametrize("text", [*BROKEN.values(), "[true]", "[1.5]", '["1"]', "{}", None, 5])
def test_whole_numbers(text):
    if text == "[1]":
        assert numbers(text, "Here") == [1]
        return
    with pytest.raises(BankError, match=r"^Here "):
        numbers(text, "Here")
