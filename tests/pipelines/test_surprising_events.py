"""Banks whose events a language model helped to make: surprise on the units, denoised text on the events."""

import pytest
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.command import main
from pipelines.plan import plan
from pipelines.run import build


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = tmp_path_factory.mktemp("surprise")
    fields = tiny_recipe(root, write_corpus(root / "corpus", documents=12))
    reading = {"dtype": "float32", "window": 64, "stride": 32, "batch_tokens": 256}
    for section in ("split", "datastore", "neighbours", "teacher", "imitate"):
        del fields[section]
    model = fields.pop("language_model")
    fields |= {
        "segment": {"method": "surprisal", "deviations": 0.5},
        "surprise": {"model": model, "signals": ["entropy"], **reading},
        "denoise": {"model": model, "rate": 0.5, **reading},
    }
    build(fields, device="cpu")
    return fields


def test_what_the_segmenter_cuts_by_is_computed_once(recipe):
    bank = mnemic.open_bank(recipe["bank"])
    units = bank.table("units", ["document", "ordinal", "entropy", "surprisal"]).to_pylist()
    assert sum(unit["surprisal"] is None for unit in units) <= len({unit["document"] for unit in units})
    assert all(unit["entropy"] > 0 for unit in units if unit["entropy"] is not None)
    assert [step.kind for step in plan(recipe).steps if step.step in ("surprise", "segment", "denoise")] == ["done"] * 3
    assert build(recipe, device="cpu").steps == ()


def test_events_begin_with_the_surprising_unit(recipe, capsys):
    bank = mnemic.open_bank(recipe["bank"])
    surprise = {
        (unit["document"], unit["ordinal"]): unit["surprisal"]
        for unit in bank.table("units", ["document", "ordinal", "surprisal"]).to_pylist()
    }
    topics = bank.table("events", ["id", "document", "first_unit", "score", "threshold", "surprise"], "cause = 'topic'")
    assert len(topics) > 3
    for event in topics.to_pylist():
        assert event["score"] == surprise[event["document"], event["first_unit"]] > event["threshold"]
    assert main(["why", recipe["bank"], topics["id"][0].as_py()]) == 0
    output = capsys.readouterr().out
    assert "the topic turns (surprisal " in output and "mean surprise" in output


def test_leaves_keep_their_text_and_a_denoised_one(recipe):
    rows = mnemic.open_bank(recipe["bank"]).table("events", ["leaf", "text", "words", "denoised"]).to_pylist()
    for row in rows:
        assert (row["denoised"] is not None) == row["leaf"]
        if row["leaf"]:
            words = row["denoised"].split()
            assert len(words) == max(1, round(row["words"] * 0.5)) or row["words"] == len(words)
            assert set(words) <= set(row["text"].split())


def test_the_layout_of_fragments_changes_nothing(recipe, tmp_path):
    other = {**recipe, "bank": str(tmp_path / "bank"), "fragment_characters": 1200}
    build(other, device="cpu")
    one, two = (mnemic.open_bank(fields["bank"]) for fields in (recipe, other))
    assert len(two.dataset("units").fragments) > len(one.dataset("units").fragments)
    assert two.digest() == one.digest()


def test_another_rate_denoises_again_and_nothing_else(recipe):
    changed = {**recipe, "denoise": {**recipe["denoise"], "rate": 0.9}}
    assert [step.step for step in plan(changed).steps if step.kind != "done"] == ["denoise", "release"]
