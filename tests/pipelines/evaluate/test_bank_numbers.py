"""The numbers of `mnemic eval` are those of the definition, computed from the rows of the bank."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import mnemic
from mnemic.command import main
from pipelines.evaluate import speed
from pipelines.evaluate.bank import Evaluation
from pipelines.evaluate.held_out import HeldOut, loaded


@pytest.fixture(scope="module")
def bank(tiny_full):
    return tiny_full.open()


@pytest.fixture(scope="module")
def report(bank) -> Evaluation:
    return mnemic.evaluate(bank)


def rows_of(bank, where):
    rows = bank.table("datastore", ["token", "base_logprob", "teacher_label", "input", "document"], where)
    memory = bank.memory().module
    hidden = torch.from_numpy(np.array(rows["input"].to_pylist(), np.float16))
    with torch.inference_mode():
        log_probs = memory.token_log_prob(hidden, torch.from_numpy(rows["token"].to_numpy().astype(np.int64)))
    return rows, {"knn": rows["teacher_label"].to_numpy(), "mlp": log_probs.exp().numpy()}


def nll(rows, log_probs, weight):
    base = np.exp(rows["base_logprob"].to_numpy().astype(np.float64))
    return -np.log((1 - weight) * base + weight * log_probs)


def test_weights_are_the_best_on_validation_text(bank, report):
    rows, log_probs = rows_of(bank, "split LIKE 'validation-%'")
    for name in log_probs:
        weight = report.weights[name]
        losses = [nll(rows, log_probs[name], step / 20).mean() for step in range(20)]
        assert weight == pytest.approx(np.argmin(losses) / 20)


def test_every_memory_of_the_recipe_is_measured(bank, report):
    assert set(report.weights) == {"knn", "mlp", "cross-entropy", "decoder", "suffix"}
    for part in report.perplexities:
        assert set(part.comparisons) == set(report.weights)
        assert set(part.recovered) <= {"mlp", "cross-entropy", "decoder", "suffix"}
    assert report.training["mlp"]["training_flops"] == report.training["cross-entropy"]["training_flops"] > 0
    assert report.training["decoder"]["trained_tokens"] == bank.dataset("datastore").count("split = 'store'")


def test_what_a_decoder_says_does_not_depend_on_which_rows_are_asked_for(bank):
    every = HeldOut.read(bank, "split LIKE 'test-%'", loaded(bank))
    some = HeldOut.read(bank, "split = 'test-collection'", loaded(bank))
    rows = np.flatnonzero(np.isin(every.document, some.document))
    np.testing.assert_array_equal(every.memories["decoder"][rows], some.memories["decoder"])
    assert np.isfinite(some.memories["decoder"]).any()


def test_perplexities_and_shares_follow_from_the_losses(bank, report):
    assert [part.part for part in report.perplexities] == ["document", "collection"]
    for part in report.perplexities:
        rows, log_probs = rows_of(bank, f"split = 'test-{part.part}'")
        base = nll(rows, 0.0, 0.0)
        mixed = {name: nll(rows, log_probs[name], report.weights[name]) for name in log_probs}
        assert (part.tokens, part.documents) == (len(rows), len(set(rows["document"].to_pylist())))
        assert part.base == pytest.approx(np.exp(base.mean()), rel=1e-6)
        for name, losses in mixed.items():
            assert part.comparisons[name].perplexity.value == pytest.approx(np.exp(losses.mean()), rel=1e-4)
        gain = base.sum() - mixed["knn"].sum()
        assert gain > 0 or part.recovered == {}
        for name in set(mixed) & set(part.recovered):  # those whose interval is finite
            assert part.recovered[name].value == pytest.approx((base.sum() - mixed[name].sum()) / gain, rel=1e-2)


def test_losses_by_frequency_add_up_to_the_whole(bank, report):
    stored = bank.table("datastore", ["token"], "split = 'store'")["token"].to_numpy()
    for part in report.perplexities:
        tokens = np.array([bucket.tokens for bucket in part.frequencies])
        assert tokens.sum() == part.tokens
        for name in ("base", "knn", "mlp"):
            mean = tokens @ [bucket.losses[name] for bucket in part.frequencies] / part.tokens
            whole = part.base if name == "base" else part.comparisons[name].perplexity.value
            assert np.exp(mean) == pytest.approx(whole, rel=1e-6)
        rows = bank.table("datastore", ["token"], f"split = 'test-{part.part}'")["token"].to_numpy()
        unseen = sum(bucket.tokens for bucket in part.frequencies if bucket.least == 0)
        assert unseen == (~np.isin(rows, stored)).sum()


def test_what_a_person_and_what_a_program_reads(bank, report, capsys):
    assert main(["eval", bank.path]) == 0
    output = capsys.readouterr().out
    assert "by how often the store has it" in output and "times base" in output
    assert main(["eval", bank.path, "--json"]) == 0
    read = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert read["perplexities"][0]["frequencies"][0]["tokens"] == report.perplexities[0].frequencies[0].tokens


def test_speed_is_told_of_the_model_alone_and_with_each_memory(bank, capsys, monkeypatch):
    monkeypatch.setattr(speed, "GENERATED", 4)
    monkeypatch.setattr(speed, "DOCUMENTS", 1)
    speeds = mnemic.evaluate(bank, speed=True).speeds
    assert [one.name for one in speeds] == ["base", *(info.name for info in bank.memories())]
    assert speeds[0].times_base == 1.0 and all(one.tokens_per_second > 0 for one in speeds)
    sizes = {one.name: one.bytes for one in speeds}
    keys = bank.table("datastore", ["key"], "split = 'store'")["key"]
    assert sizes["knn"] >= 2 * len(keys) * keys.type.list_size, "it holds every key"
    assert 0 < sizes["mlp"] < sizes["base"]
    assert main(["eval", bank.path, "--speed"]) == 0
    assert "tokens/s" in capsys.readouterr().out
