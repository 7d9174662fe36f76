"""The effect of blocking a subtree: comparisons against the definition, and the readings of a bank."""

import numpy as np
import pytest

from mnemic.blocks.layout import above
from pipelines.evaluate.blocking import BLOCKED, blocked_subtrees, subtree_of
from pipelines.evaluate.blocks import block_perplexities
from pipelines.evaluate.bootstrap import Interval
from pipelines.evaluate.topics import shown_topics


def test_the_perplexities_are_those_of_the_documents_of_a_subtree():
    draw, nodes = np.random.default_rng(0), ["10", "2", "", "2", "10", "2"]
    sizes = [3, 5, 7, 2, 4, 6]
    base, fetched, blocked, other = ([draw.uniform(1, 4, size) for size in sizes] for _ in range(4))
    losses = {"base": base, "fetched": fetched, BLOCKED: blocked}
    rows = {row.node: row for row in blocked_subtrees(nodes, {"2": "pipes"}, losses, other)}
    assert list(rows) == ["", "2", "10"], "all topics first, the topic of no block nowhere"
    for node, places in {"": [0, 1, 3, 4, 5], "2": [1, 3, 5], "10": [0, 4]}.items():
        row = rows[node]
        values = {
            name: np.exp(np.mean(np.concatenate([every[place] for place in places])))
            for name, every in {**losses, "other": other}.items()
        }
        assert (row.documents, row.tokens) == (len(places), sum(sizes[place] for place in places))
        assert row.label == ("pipes" if node == "2" else "")
        assert row.base.value == pytest.approx(values["base"])
        for comparison, name in ((row.fetched, "fetched"), (row.blocked, BLOCKED), (row.elsewhere, "other")):
            assert comparison.perplexity.value == pytest.approx(values[name])
            assert comparison.ratio.value == pytest.approx(values[name] / values["base"])
            assert comparison.ratio.low < comparison.ratio.value < comparison.ratio.high
        assert row.effect.ratio.value == pytest.approx(values[BLOCKED] / values["fetched"])


def test_without_a_block_of_a_topic_nothing_can_be_blocked():
    losses = {name: [np.ones(3)] for name in ("base", "fetched", BLOCKED)}
    assert list(blocked_subtrees([""], {}, losses, None)) == []
    (_, row) = blocked_subtrees(["0"], {}, losses, None)
    assert row.elsewhere is None and row.effect.ratio == Interval(1.0, 1.0, 1.0)


def test_a_document_of_a_blocked_subtree_is_read_by_the_model_alone_bit_for_bit(tiny_full):
    bank = tiny_full.open()
    memory = bank.memory("blocks")
    (one,) = [part for part in block_perplexities(bank, prefix=16, most=6) if part.part == "document"]
    whole, *subtrees = one.blocked
    assert whole.documents == sum(row.documents for row in subtrees) > 1
    for row in one.blocked:
        assert row.blocked.ratio == Interval(1.0, 1.0, 1.0) and row.blocked.perplexity == row.base
        assert row.effect.ratio.value == pytest.approx(1 / row.fetched.ratio.value)
        assert row.fetched.ratio.value != 1
    blocked = memory.without(subtrees[0].node)
    for leaf in memory.routes.paths:
        inside = above(leaf)[:1] == (subtrees[0].node,)
        assert subtree_of(blocked, leaf) == ("" if inside else subtree_of(memory, leaf))
        assert inside or blocked.path(leaf) == memory.path(leaf), "other topics keep their blocks"
    text = "\n".join(shown_topics(one))
    assert "all topics, each alone" in text and "blocked / without memory 1.000 (1.000 to 1.000)" in text
