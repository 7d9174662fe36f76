"""Mixtures of memories at the output with those inside, against the definition."""

import math

import numpy as np
import pytest

from mnemic.memories.held_out import HeldOutRows
from pipelines.evaluate.blocks import block_perplexities
from pipelines.evaluate.together import together
from pipelines.evaluate.topics import shown_topics

WHERE = "split = 'test-document'"


class Document:
    def __init__(self, name, tokens):
        self.id, self.tokens = name, tokens


def test_mixtures_are_those_of_the_definition(tiny_full):
    bank = tiny_full.open()
    rows = HeldOutRows.read(bank.view, WHERE)
    names, positions = rows.table["document"].to_pylist(), rows.table["position"].to_pylist()
    draw, prefix = np.random.default_rng(0), 4
    documents = [
        Document(name, np.zeros(1 + max(p for n, p in zip(names, positions, strict=True) if n == name), np.int32))
        for name in sorted(set(names))
    ]
    documents.append(Document("elsewhere", np.zeros(20, np.int32)))
    losses = {name: [draw.uniform(1, 5, len(one.tokens) - prefix) for one in documents] for name in ("base", "fetched")}
    compared = together(bank, WHERE, documents, losses, prefix)
    scores = {name: bank.memory(name).scores(rows) for name in ("mlp", "knn", "suffix")}
    at = {key: row for row, key in enumerate(zip(names, positions, strict=True))}
    for name in scores:
        share = bank.tune([name])[name]
        for inside, label in (("base", name), ("fetched", f"fetched + {name}")):
            own = [
                -math.log((1 - share) * math.exp(-loss) + share * math.exp(scores[name][at[(one.id, prefix + place)]]))
                for one, losses_of in zip(documents, losses[inside], strict=True)
                for place, loss in enumerate(losses_of)
                if (one.id, prefix + place) in at
            ]
            assert compared[label].perplexity.value == pytest.approx(math.exp(sum(own) / len(own)), rel=1e-6), label
    every = [name for name in compared if name.count(",") >= 3]
    assert len(every) == 2 and all("mlp, " in name for name in every)
    assert not {"blocks", "slots"} & {one for name in compared for one in name.replace("+", ",").split(", ")}


def test_slots_and_blocks_stand_alone_together_and_beside_others(tiny_full):
    bank = tiny_full.open()
    (one,) = [part for part in block_perplexities(bank, prefix=16, most=4) if part.part == "document"]
    assert {"fetched", "slots", "fetched + slots"} <= set(one.comparisons)
    assert {"mlp", "fetched + mlp", "slots + knn", "fetched + slots + suffix"} <= set(one.together)
    values = [one.comparisons[name].perplexity.value for name in ("fetched", "slots", "fetched + slots")]
    assert len({round(value, 6) for value in values}) == 3
    text = "\n".join(shown_topics(one))
    assert "+ fetched + slots + mlp" in text


def test_a_bank_without_a_datastore_has_no_mixtures(tiny_full):
    class Bare:
        view = ()

    assert together(Bare(), WHERE, [Document("a", np.zeros(9, np.int32))], {"base": [np.ones(5)]}, 4) == {}
    assert together(tiny_full.open(), WHERE, [], {"base": []}, 4) == {}
