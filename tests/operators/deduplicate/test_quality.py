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
    made = {name: part for part, name in natural} | {name: part for name, part, *_ in planted}
    return {name: made[name] for name in sorted(made, key=content_hash)}


@pytest.mark.parametrize("method", ["auto", "lshbloom"])
def test_removals_are_those_of_the_exact_truth(texts, method) -> None:
    names, said = list(texts), list(texts.values())
    one, other, similarity, group = similar_pairs(said, 0.8)
    assert len(one) > 60 and (similarity >= 0.8).all()
    rows = corpus(texts)
    fitted = fit(Deduplicate(method=method), rows)
    dropped = duplicates(fitted, rows)
    order = sorted(range(len(said)), key=lambda i: (-len(said[i]), content_hash(said[i]), names[i]))
    back = np.argsort(order)
    lengths, renumbered = np.array([len(said[i]) for i in order]), np.where(group >= 0, back[group], -1)[order]
    kept = kept_by_rule(lengths, renumbered, back[one], back[other])[back]
    removed = np.array([name in dropped for name in names])
    wanted, found = (group >= 0) & ~kept, (group >= 0) & removed
    right = (wanted & found).sum()
    assert 2 * right / (wanted.sum() + found.sum()) >= 0.99
    for pair in fitted.tables["pairs"].to_pylist():
        exact = jaccard(shingles(texts[pair["document"]]), shingles(texts[pair["other"]]))
        if pair["rule"] == "jaccard":
            assert exact == pair["similarity"] and (exact >= 0.8) == (pair["verdict"] == "duplicate")


def test_the_truth_is_that_of_brute_force(texts) -> None:
    said = list(texts.values())[:250]
    sets = [shingles(text) for text in said]
    one, other, similarity, group = similar_pairs(said, 0.6)
    found = {frozenset(pair): value for *pair, value in zip(one.tolist(), other.tolist(), similarity, strict=True)}
    for i in range(len(said)):
        for j in range(i):
            exact = jaccard(sets[i], sets[j])
            if group[i] >= 0 and group[i] == group[j]:
                assert exact == 1.0
            elif group[i] == i and group[j] == j:
                assert found.get(frozenset((i, j)), exact) == exact and (frozenset((i, j)) in found) == (exact >= 0.6)


def test_the_operator_s_shingles_are_those_of_the_truth(texts) -> None:
    said = [*[*texts.values()][:200], "東京の天気は晴れです、明日は雨です", "ไทยเขียนโดยไม่เว้นวรรค", ""]
    said += [unicodedata.normalize("NFD", text) for text in said[:50]]
    for text, made in zip(said, Shingler().distinct(pa.array(said, pa.large_string())), strict=True):
        assert len(made) == len(shingles(text))
