"""A gate on what is found: real text with planted edits of every similarity, against the exact truth."""

from __future__ import annotations

import importlib.metadata
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from test_deduplicate import corpus, duplicates, fit

from bench.deduplicate.debian import split
from bench.deduplicate.edits import plant
from bench.deduplicate.truth import jaccard, kept_by_rule, shingles, similar_pairs
from mnemic.ids import content_hash
from operators.deduplicate import Deduplicate
from operators.deduplicate.shingles import Shingler


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Descriptions of the installed packages in parts, and 700 edits of them."""
    natural = [
        (f"{distribution.metadata['Name']}:{number}", part)
        for distribution in importlib.metadata.distributions()
        for number, part in enumerate(split(str(distribution.metadata.get_payload() or ""), 2500))
        if len(part.split()) > 100
    ]
    natural = sorted({part: name for name, part in natural}.items(), key=lambda item: item[1])
    planted = plant([(name, part) for part, name in natural], min(700, len(natural) // 2), 7)
    all_texts = {name: part for part, name in natural} | {name: part for name, part, *_ in planted}
    return {name: all_texts[name] for name in sorted(all_texts, key=content_hash)}


@pytest.mark.parametrize("method", ["auto", "lshbloom"])
def test_removals_are_those_of_the_exact_truth(texts, method) -> None:
    names, bodies = list(texts), list(texts.values())
    one, other, similarity, group = similar_pairs(bodies, 0.8)
    assert len(one) > 60 and (similarity >= 0.8).all()
    rows = corpus(texts)
    fitted = fit(Deduplicate(method=method), rows)
    dropped = duplicates(fitted, rows)
    order = sorted(range(len(bodies)), key=lambda i: (-len(bodies[i]), content_hash(bodies[i]), names[i]))
    back = np.argsort(order)
    lengths, renumbered = np.array([len(bodies[i]) for i in order]), np.where(group >= 0, back[group], -1)[order]
    stays = kept_by_rule(lengths, renumbered, back[one], back[other])[back]
    removed = np.array([name in dropped for name in names])
    expected, actual = (group >= 0) & ~stays, (group >= 0) & removed
    right = (expected & actual).sum()
    assert 2 * right / (expected.sum() + actual.sum()) >= 0.99
    for pair in fitted.tables["pairs"].to_pylist():
        exact = jaccard(shingles(texts[pair["document"]]), shingles(texts[pair["other"]]))
        if pair["rule"] == "jaccard":
            assert exact == pair["similarity"] and (exact >= 0.8) == (pair["verdict"] == "duplicate")


def test_the_truth_is_that_of_brute_force(texts) -> None:
    bodies = list(texts.values())[:250]
    sets = [shingles(text) for text in bodies]
    one, other, similarity, group = similar_pairs(bodies, 0.6)
    truth = {frozenset(pair): value for *pair, value in zip(one.tolist(), other.tolist(), similarity, strict=True)}
    for i in range(len(bodies)):
        for j in range(i):
            exact = jaccard(sets[i], sets[j])
            if group[i] >= 0 and group[i] == group[j]:
                assert exact == 1.0
            elif group[i] == i and group[j] == j:
                assert truth.get(frozenset((i, j)), exact) == exact and (frozenset((i, j)) in truth) == (exact >= 0.6)


def test_the_operator_s_shingles_are_those_of_the_truth(texts) -> None:
    bodies = [*[*texts.values()][:200], "東京の天気は晴れです、明日は雨です", "ไทยเขียนโดยไม่เว้นวรรค", ""]
    bodies += [unicodedata.normalize("NFD", text) for text in bodies[:50]]
    for text, hashes in zip(bodies, Shingler().distinct(pa.array(bodies, pa.large_string())), strict=True):
        assert len(hashes) == len(shingles(text))
