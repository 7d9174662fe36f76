"""Places of subjects and targets in prompts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import save_tiny_model

from mnemic import languagemodel
from mnemic.errors import ModelError
from mnemic.rewrites.prompts import prompt_of
from mnemic.rewrites.statement import Statement, guarded


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> object:
    return languagemodel.tokenizer(save_tiny_model(Path(tmp_path_factory.mktemp("model"))))


@pytest.mark.parametrize("context", ["{}", "According to the notes, {}"])
@pytest.mark.parametrize("relation", ["The key of {} is under the", "{} lives in", "I know the friend of {}"])
def test_places_are_where_the_words_end(tokenizer: object, relation: str, context: str) -> None:
    for subject in ("a fox", "Naïve façade", "漢字 🙂"):
        prompt = prompt_of(tokenizer, relation, subject, "table of the river", before="Before. ", context=context)
        ids = list(prompt.ids)
        assert tokenizer.decode(ids[: prompt.place + 1]).endswith(subject)
        assert not tokenizer.decode(ids[: prompt.place]).endswith(subject)
        assert tokenizer.decode(prompt.targets) == " table of the river"
        assert tokenizer.decode(ids).startswith("Before. ")


def test_what_cannot_be_asked_is_refused(tokenizer: object) -> None:
    with pytest.raises(ModelError, match="give a sentence of 2 to"):
        prompt_of(tokenizer, "{} is", "word " * 1000, "x")
    bare = prompt_of(tokenizer, "The end of {} is", "a fox")
    assert bare.targets == () and bare.begin == len(bare.ids)


def test_neighbours_are_divided_by_a_draw_and_no_fact_is_one() -> None:
    others = tuple(f"box {number}" for number in range(10))
    facts = [Statement(f"box {number}", "{} is", "red", neighbours=others) for number in (0, 1)]
    first, second = guarded(facts, 0.25)
    assert len(first) == 2 and len(second) == 6 and not {*first} & {*second}
    assert {subject for _, subject in (*first, *second)} == {*others} - {"box 0", "box 1"}
    assert guarded(facts[::-1], 0.25) == (first, second)
