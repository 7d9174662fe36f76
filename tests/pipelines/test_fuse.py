"""One memory of two banks: trained on their union, and measured beside theirs on text that nobody stored."""

import json

import numpy as np
import pytest
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.command import main
from mnemic.errors import RecipeError
from mnemic.splits import STORE, TEST
from pipelines.evaluate.fusion import _mixed, unseen_rows
from pipelines.fuse import began_apart, fused_recipe

SPLIT = {"tokens": 600, "held_out_tokens": 900, "min_characters": 100}
SECTIONS = {"cluster": False, "suffixes": False, "split": SPLIT}

pytestmark = pytest.mark.slow  # three builds


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    """Banks of two corpora, of one language model."""
    root = tmp_path_factory.mktemp("fuse")
    paths = []
    for seed, name in enumerate(("ours", "theirs")):
        recipe = tiny_recipe(root, write_corpus(root / name, 40, seed), name=name, **SECTIONS)
        paths.append(str(root / f"bank-{name}"))
        mnemic.build({**recipe, "bank": paths[-1]}, device="cpu")
    return paths


@pytest.fixture(scope="module")
def union(banks, tmp_path_factory):
    place = str(tmp_path_factory.mktemp("union") / "both")
    return mnemic.fuse(banks, place, device="cpu"), place


def test_one_memory_is_measured_beside_those_of_the_banks(union, banks):
    fusion, place = union
    (one,) = fusion.memories
    assert one.memory == "mlp" and set(one.alone) == {"bank-ours", "bank-theirs"} == set(one.shares)
    assert one.tokens > 0 and one.documents > 0 and one.average is not None and one.apart == ""
    assert one.gain.perplexity == one.fused.perplexity
    bank, views = mnemic.open_bank(place), [mnemic.open_bank(path) for path in banks]
    rows = unseen_rows(bank, views, TEST)
    scores = bank.memory("mlp").scores(rows)
    weights = [*np.linspace(0, 0.99, 100), *(1 - np.logspace(-2, -7, 50))]
    losses = [float(np.exp(_mixed(rows, [scores], [weight]).mean())) for weight in weights]
    assert min(losses) <= one.fused.perplexity.value * 1.0001, "weights are chosen on other text"
    assert one.base == pytest.approx(losses[0])
    by_definition = -np.log(0.3 * np.exp(scores) + 0.7 * np.exp(rows.base))
    assert np.allclose(_mixed(rows, [scores], [0.3]), by_definition)


def test_measured_is_text_that_nobody_stored(union, banks):
    bank, views = mnemic.open_bank(union[1]), [mnemic.open_bank(path) for path in banks]
    rows = unseen_rows(bank, views, TEST)
    texts = {row["id"]: row["text"] for row in bank.table("documents", ["id", "text"]).to_pylist()}
    measured = {texts[document] for document in rows.table["document"].to_pylist()}
    for stored in (bank, *views):
        assert not measured & set(stored.table("documents", ["text"], STORE)["text"].to_pylist())


def test_the_union_has_room_for_both_and_is_built_once(union, banks, capsys):
    recipe = fused_recipe(banks, union[1])
    assert recipe["split"]["tokens"] == 1200 and recipe["split"]["held_out_tokens"] == 1800
    assert main(["fuse", *banks, "--into", union[1], "--json", "--device", "cpu"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["memories"] == json.loads(json.dumps([one.as_json() for one in union[0].memories]))
    assert main(["fuse", *banks, "--into", union[1], "--device", "cpu"]) == 0
    assert "one trained on all is" in capsys.readouterr().out


def test_what_cannot_be_fused_is_told(banks, tmp_path):
    for memories in (["decoder"], "decoder"):
        with pytest.raises(RecipeError, match="no memory 'decoder' in common"):
            mnemic.fuse(banks, tmp_path / "both", memories)
    for few in ([], banks[:1]):
        with pytest.raises(RecipeError, match="two or more"):
            mnemic.fuse(few, tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_memories_that_began_apart_are_not_averaged(banks, monkeypatch):
    views = [mnemic.open_bank(path) for path in banks]
    assert began_apart(views, "mlp") == ""
    record = views[0].view.record

    def drawn_otherwise(view, step):
        return {"fields": {**record(step)["fields"], "seed": view.path}}

    monkeypatch.setattr(type(views[1].view), "record", drawn_otherwise)
    assert "with seed" in began_apart(views, "mlp")
