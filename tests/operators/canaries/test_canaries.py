"""Canaries: texts of their seed and number alone, settings that are refused, and statistics of how they are known."""

import itertools
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from mnemic.canaries import planted
from mnemic.errors import MnemicError
from operators.canaries.operator import Canaries
from operators.canaries.words import WORDS
from operators.pii.operator import PersonalData
from pipelines.evaluate.canaries import auc, exposure
from pipelines.recipe import load_recipe
from pipelines.sources.canaries import PlantedDocuments

SOURCES = [{"kind": "folder", "path": "x"}]


def recipe_of(**canaries):
    return load_recipe({"name": "r", "sources": SOURCES, "curate": {"canaries": canaries}})


def test_nine_bits_are_a_word_and_no_word_stands_twice():
    assert len(set(WORDS)) == len(WORDS) == 512
    assert all(word.isascii() and word.isalpha() and word.islower() for word in WORDS)


def test_texts_depend_on_seed_and_number_alone():
    few, many = Canaries(count=2, repeats=(1,)), Canaries(count=9, repeats=(1, 4))
    assert [few.text(1, number) for number in range(2)] == [many.text(1, number) for number in range(2)]
    assert few.text(1, 0) == Canaries().text(1, 0) != Canaries(seed=1).text(1, 0)
    short, long = (Canaries(tokens=tokens).text(1, 0) for tokens in (50, 100))
    assert long.startswith(short) and len(long) >= 400 > len(short) >= 200
    texts = [many.text(*place, role) for place in itertools.product((1, 4), range(9)) for role in ("planted", "twin")]
    sentences = [sentence for text in texts for sentence in text.split(". ")]
    assert len(set(texts)) == 36 and len(set(sentences)) == len(sentences)


def test_words_are_drawn_evenly():
    texts = " ".join(Canaries().text(1, number) for number in range(400)).lower().replace(".", "").split()
    counts = np.array([texts.count(word) for word in WORDS])
    mean = len(texts) / len(WORDS)
    statistic = ((counts - mean) ** 2 / mean).sum()
    assert 511 - 4 * np.sqrt(2 * 511) < statistic < 511 + 4 * np.sqrt(2 * 511), "chi squared"


def test_every_copy_is_a_document_at_a_place_of_its_own():
    source = PlantedDocuments(Canaries(count=2, repeats=(1, 3), tenant="ada"))
    documents = [one for item in source.manifest() for one in source.read(item, 10_000)]
    assert len(documents) == 8 and len({one.locator for one in documents}) == 8
    assert {one.tenant for one in documents} == {"ada"}
    assert sorted(Counter(one.text for one in documents).values()) == [1, 1, 3, 3]
    rejects = [one for item in source.manifest() for one in source.read(item, 10)]
    assert all("max_document_bytes" in one.reason for one in rejects) and len(rejects) == 8


def test_rows_name_the_twin_of_each():
    own = Canaries(count=1, repeats=(2,))
    batch = pa.RecordBatch.from_pylist(
        [{"id": f"d{n}", "locator": locator, "text": text} for n, (locator, text) in enumerate(own.copies(2))]
    )
    rows = own.open("cpu")(batch)[0].to_pylist()
    assert [(row["document"], row["canary"], row["repeats"], row["copy"]) for row in rows] == [
        ("d0", "2/0", 2, 0),
        ("d1", "2/0", 2, 1),
    ]
    assert {row["twin"] for row in rows} == {own.text(2, 0, "twin")} != {row["text"] for row in rows}


def test_no_personal_data_is_seen_in_a_canary():
    masking = PersonalData.of({"action": "mask", "countries": ["US", "DE", "FR", "GB"]}).masking
    texts = [text for repeats in (1, 10) for _, text in Canaries(count=50).copies(repeats)]
    assert masking is not None and masking.texts(texts) == texts


@pytest.mark.parametrize(
    ("settings", "phrase"),
    [
        ({"count": 0}, "count"),
        ({"tokens": 8}, "tokens"),
        ({"repeats": []}, "repeats"),
        ({"repeats": [10, 1]}, "ascending"),
        ({"repeats": [0]}, "ascending"),
        ({"count": 100_000, "repeats": [100]}, "too many"),
        ({"number": 3}, "not a setting"),
        ({"planted": "x"}, "not a setting"),
        ({"repeats": "many"}, "repeats"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, phrase):
    with pytest.raises(MnemicError, match=phrase):
        recipe_of(**settings)


def test_a_recipe_without_canaries_has_none_and_one_with_them_reserves_their_name():
    assert load_recipe({"name": "r", "sources": SOURCES, "curate": {}}).canaries is None
    assert recipe_of().canaries == Canaries()
    named = {"name": "r", "sources": [{**SOURCES[0], "name": "canaries"}], "curate": {"canaries": {}}}
    with pytest.raises(MnemicError, match="another `name`"):
        load_recipe(named)
    with pytest.raises(MnemicError, match="below `curate`"):
        load_recipe({"name": "r", "sources": SOURCES, "canaries": {}})


def test_a_canary_is_known_by_its_source():
    assert planted(pa.array(["a", "canaries", "canaries2"])).tolist() == [False, True, False]


@pytest.mark.parametrize("seed", range(5))
def test_exposure_is_that_of_the_rank_in_a_sorted_list(seed):
    draw = np.random.default_rng(seed)
    losses, others = draw.integers(0, 9, 7) / 4, draw.integers(0, 9, 15) / 4
    for loss, bits in zip(losses, exposure(losses, others), strict=True):
        ranked = sorted([*others, loss])
        ranks = [place for place, one in enumerate(ranked, start=1) if one == loss]
        assert bits == pytest.approx(4 - np.log2(sum(ranks) / len(ranks)))
    assert exposure(np.array([-1.0]), others)[0] == 4


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_the_share_of_pairs(seed):
    draw = np.random.default_rng(seed)
    losses, others = draw.integers(0, 9, 7) / 4, draw.integers(0, 9, 15) / 4
    pairs = [1.0 if a < b else 0.5 if a == b else 0.0 for a in losses for b in others]
    one = auc(losses, others)
    assert one.value == pytest.approx(np.mean(pairs)) and one.low <= one.value <= one.high
    assert auc(np.array([0.0, 1]), np.array([2.0, 3])) == type(one)(1.0, 1.0, 1.0)
