"""Exact search of bytes over tokens, against a scan of the texts."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import save_tiny_model

from mnemic import languagemodel
from mnemic.suffixes.index import SuffixIndex
from mnemic.suffixes.shard import Shard
from mnemic.trace import substring
from mnemic.trace.pieces import Pieces

ALPHABET = ["a", "b", " ", "  ", "\n", "é", "漢", "字", "🙂", "the ", "index", "naïve", ".", "7", "<|end|>", "--"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("model")
    return languagemodel.tokenizer(save_tiny_model(folder))


def index_of(texts, tokenizer, shards=1, **options):
    tokens = [np.array(tokenizer(text, add_special_tokens=False)["input_ids"], np.int64) for text in texts]
    groups = np.array_split(np.arange(len(texts)), shards)
    return SuffixIndex(
        [Shard.of([tokens[n] for n in group], [f"{n:03d}" for n in group], 320) for group in groups], **options
    )


def places(index, pieces, text):
    """(document, byte) of all places, with repetitions."""
    places = []
    for some in substring.places_of(index, pieces, text.encode()):
        shard = index.shards[some.shard]
        for first, skip in zip(some.firsts, some.skips, strict=True):
            owner = int(shard.document_of(np.array([first + 1]))[0])
            byte = sum(pieces.sizes[shard.tokens[shard.offsets[owner] : first]]) + skip
            places.append((shard.documents[owner].as_py(), int(byte)))
    return Counter(places)


def scanned(texts, text):
    """The same by looking at every byte."""
    encoded = text.encode()
    return Counter(
        (f"{number:03d}", byte)
        for number, one in enumerate(texts)
        for byte in range(len(one.encode()))
        if one.encode().startswith(encoded, byte)
    )


texts_of = st.lists(st.lists(st.sampled_from(ALPHABET), min_size=1, max_size=30).map("".join), min_size=1, max_size=6)


@settings(max_examples=150)
@given(texts=texts_of, shards=st.sampled_from([1, 2, 7]), data=st.data())
def test_places_are_those_of_a_scan(tokenizer, texts, shards, data):
    source = data.draw(st.sampled_from(texts))
    start = data.draw(st.integers(0, len(source) - 1))
    text = source[start : data.draw(st.integers(start + 1, len(source)))] + data.draw(
        st.sampled_from(["", "", "b", "é"])
    )
    index = index_of(texts, tokenizer, shards, with_numba=False)
    assert places(index, Pieces.of(tokenizer), text) == scanned(texts, text)


@settings(max_examples=60)
@given(texts=texts_of, data=st.data())
def test_common_sequences_are_followed_as_rare_ones_are(tokenizer, texts, data):
    source = data.draw(st.sampled_from(texts))
    text = source[data.draw(st.integers(0, len(source) - 1)) :]
    index, pieces = index_of(texts * 3, tokenizer, with_numba=False), Pieces.of(tokenizer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(substring, "_RARE", 0)
        patch.setattr(substring, "_AT_ONCE", 3)
        assert places(index, pieces, text) == scanned(texts * 3, text)


def test_a_narrowed_index_has_no_place_elsewhere(tokenizer):
    texts = ["the index of the value", "the index of the file", "an index of the value"]
    index = index_of(texts, tokenizer).of_documents(lambda shard: np.array([True, False, True]))
    for text in ("e", "he ind", "index of the", "t", "value"):
        assert places(index, Pieces.of(tokenizer), text) == Counter(
            {place: 1 for place in scanned(texts, text) if place[0] != "001"}
        )


def test_a_long_text_is_where_it_is_and_nowhere_else(tokenizer):
    text = "A dataset version is tagged with a name, " * 200
    index, pieces = index_of([text, text[:-1] + "."], tokenizer), Pieces.of(tokenizer)
    assert places(index, pieces, text[3:]) == Counter([("000", 3)])


def test_large_numbers_of_tokens_are_looked_up_too(tokenizer):
    tokens = np.array(tokenizer("the value of the index", add_special_tokens=False)["input_ids"], np.int64)
    index = SuffixIndex([Shard.of([tokens], ["000"], 1 << 20)])
    assert index.shards[0].tokens.dtype == np.uint32
    assert places(index, Pieces.of(tokenizer), "e ") == scanned(["the value of the index"], "e ")


@pytest.mark.parametrize(
    "change", ["normalizer", "prefix", "model", "lstrip", "removed", "byte"], ids=lambda change: change
)
def test_tokenizers_that_change_a_text_have_no_pieces(tokenizer, change):
    import json

    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    if change == "normalizer":
        parts["normalizer"] = {"type": "Lowercase"}
    elif change == "prefix":
        parts["pre_tokenizer"]["add_prefix_space"] = True
    elif change == "model":
        parts["model"] = {"type": "WordLevel", "vocab": parts["model"]["vocab"], "unk_token": "a"}
    elif change == "lstrip":
        parts["added_tokens"][0]["lstrip"] = True
    elif change == "removed":
        split = {"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": False}
        parts["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, parts["pre_tokenizer"]]}
    else:
        letter = "¢"  # the byte 0xA2, which begins no letter
        parts["model"]["merges"] = [pair for pair in parts["model"]["merges"] if letter not in "".join(pair)]
        parts["model"]["vocab"] = {text: n for text, n in parts["model"]["vocab"].items() if letter not in text}
    changed = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(parts)))
    assert Pieces.of(changed) is None
