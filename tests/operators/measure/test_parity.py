"""Decisions and counts are datatrove's and data-juicer's, on texts whose answers were frozen (`bench/curate`)."""

import gzip
import json
from pathlib import Path

import pytest

from bench.curate.parity import FILTERS, VALUES, unequal_reasons, unequal_values
from operators.measure.english import english_rules

FIXTURES = Path(__file__).parent.parent.parent / "fixtures" / "curate"


def frozen(name):
    return json.loads(gzip.decompress((FIXTURES / name).read_bytes()))


@pytest.fixture(scope="module")
def peers():
    return frozen("parity.json.gz")


def test_every_reason_is_that_of_datatrove(peers):
    unequal = unequal_reasons(peers["texts"], peers["reasons"])
    assert unequal == {name: [] for name in (*FILTERS, "pipeline")}


def test_the_texts_reach_rules_of_every_filter(peers):
    assert len(peers["texts"]) == 400
    for name in FILTERS:
        assert len({reason for reason in peers["reasons"][name] if reason != "keep"}) >= 3
        assert peers["reasons"][name].count("keep") > 20


def test_every_value_is_that_of_data_juicer(peers):
    assert unequal_values(peers["texts"], peers["values"]) == {name: [] for name in VALUES}


def test_every_chunk_has_the_tokens_of_spacy():
    rules, chunks = english_rules(), frozen("english.json.gz")
    assert len(chunks) == 6000 and sum(len(lengths) > 1 for _, lengths in chunks) > 2000
    assert [(chunk, rules.lengths(chunk)) for chunk, lengths in chunks if rules.lengths(chunk) != lengths] == []
