"""Thresholds that are tried on a bank: each trial against kNN-LM by hand, equal sizes, and what a person is told."""

import json

import numpy as np
import pytest
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.command import main
from mnemic.errors import BankError
from mnemic.mixture import best_weight, perplexity
from pipelines.evaluate.bootstrap import Comparison, Interval
from pipelines.evaluate.thresholds import CONTROLS, _rules, _Sandbox, tuned

RULES = {"short": {"value": "characters", "min": 1}, "dense": {"value": "words / characters", "max": 9}}


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    root = tmp_path_factory.mktemp("tuned")
    split = {"tokens": 1500, "held_out_tokens": 600, "min_characters": 100, "max_document_tokens": 64}
    recipe = tiny_recipe(root, write_corpus(root / "corpus", documents=60), split=split, imitate=False)
    recipe["curate"] = {"rules": RULES, "canaries": {"count": 2, "tokens": 32}}
    mnemic.build(recipe, device="cpu", engine="inline")
    return mnemic.open_bank(recipe["bank"])


@pytest.fixture(scope="module")
def outcome(bank):
    return tuned(bank, ["short", "dense"], budget=6)


def by_hand(bank, trial, order):
    """The perplexity of a trial on validation text, by every distance in float64."""
    from mnemic.memories.knn import KNNMemory

    sandbox = _Sandbox(bank, _rules(bank, ["short", "dense"]), 0, KNNMemory)
    rows = sandbox._rows(sandbox._passing(trial.thresholds), order)
    keys, tokens = sandbox.keys[rows].astype(np.float64), sandbox.token[rows]
    held_out = bank.view.table("datastore", ["key", "token", "base_logprob"], "split LIKE 'validation-%'").to_pylist()
    config = bank.memory_info("knn").config
    logs = []
    for row in held_out:
        distances = ((keys - np.array(row["key"], np.float64)) ** 2).sum(axis=1)
        nearest = np.argsort(distances, kind="stable")[: config["neighbours"]]
        votes = np.exp(-(distances[nearest] - distances[nearest[0]]) / config["temperature"])
        share = votes[tokens[nearest] == row["token"]].sum() / votes.sum()
        logs.append(np.log(share) if share else -np.inf)
    return best_weight([row["base_logprob"] for row in held_out], logs)


def test_every_trial_is_knn_lm_by_hand(bank, outcome):
    for trial in outcome.trials:
        order = trial.number if trial.number < CONTROLS else 0
        weight, ours = by_hand(bank, trial, order)
        assert (trial.weight, trial.perplexity) == (weight, pytest.approx(ours, rel=1e-4))


def test_stores_are_equally_large_and_of_documents_that_pass(bank, outcome):
    from mnemic.memories.knn import KNNMemory

    sandbox = _Sandbox(bank, _rules(bank, ["short", "dense"]), 0, KNNMemory)
    documents = bank.view.table("documents", ["id", "length"]).to_pylist()
    lengths = {row["id"]: row["length"] for row in documents}
    for trial in outcome.trials[CONTROLS:]:
        assert set(trial.thresholds) == {"short", "dense"} and 0 < trial.passing <= 1
        rows = sandbox._rows(sandbox._passing(trial.thresholds), 0)
        assert len(rows) == outcome.rows
        used = {sandbox.ids[place] for place in sandbox.owner[rows]}
        assert all(lengths[one] >= trial.thresholds["short"] for one in used)
    assert any(trial.passing < 1 for trial in outcome.trials)
    canaries = set(bank.view.table("canaries", ["document"])["document"].to_pylist())
    assert not canaries & set(sandbox.ids)


def test_controls_have_no_thresholds_and_the_best_is_the_lowest(outcome):
    assert [trial.thresholds for trial in outcome.trials[:CONTROLS]] == [{}] * CONTROLS
    assert all(trial.passing == 1 for trial in outcome.trials[:CONTROLS])
    assert len({trial.perplexity for trial in outcome.trials[:CONTROLS]}) == CONTROLS, "other documents"
    assert outcome.best.perplexity == min(trial.perplexity for trial in outcome.trials)
    assert len(outcome.trials) == CONTROLS + 6
    assert outcome.base > 1 and perplexity([np.log(outcome.base)]) == pytest.approx(outcome.base)


def test_equal_seeds_give_equal_trials(bank, outcome):
    assert tuned(bank, ["short", "dense"], budget=6) == outcome
    assert tuned(bank, ["short", "dense"], budget=6, seed=1).trials[CONTROLS:] != outcome.trials[CONTROLS:]


def test_a_rule_that_is_not_there_is_told(bank):
    with pytest.raises(BankError, match=r"no rule 'tall'. Its rules are dense, short"):
        tuned(bank, ["tall"])


def test_the_command_says_what_to_write_only_where_it_is_better_than_chance(bank, outcome, capsys, monkeypatch):
    assert main(["tune", bank.path, "--over", "short", "--over", "dense", "--budget", "6"]) == 0
    out = capsys.readouterr().out
    assert out.count("none (control)") == CONTROLS and "against the control" in out
    assert ("write below `curate`" in out) == outcome.better
    assert ("no better than documents taken at random" in out) != outcome.better
    from dataclasses import replace

    from pipelines.command import tune

    sure = Interval(-1.0, -2.0, -0.5)
    best = outcome.trials[CONTROLS]
    monkeypatch.setattr(
        tune, "tuned", lambda *_: replace(outcome, best=best, test=Comparison(Interval(9, 8, 10), sure, sure))
    )
    assert main(["tune", bank.path, "--over", "short"]) == 0
    assert f"short: {{min: {best.thresholds['short']:g}}}" in capsys.readouterr().out
    assert main(["tune", bank.path, "--over", "short", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["better"] is True
