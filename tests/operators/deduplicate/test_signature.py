"""MinHash signatures: the definition of the sketch, an unbiased estimate, and nothing for texts that are too short."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_shingles import mix_of_definition

from mnemic.errors import RecipeError
from operators.deduplicate import Signature
from operators.deduplicate.minhash import sketch
from operators.deduplicate.shingles import Shingler
from operators.deduplicate.signature import from_hexadecimal, hexadecimal

WORDS = [f"word{i}" for i in range(300)]
M64 = 2**64 - 1


def sign(operator: Signature, texts: list[str]) -> pa.RecordBatch:
    ids = pa.array([str(i) for i in range(len(texts))], pa.string())
    batch = pa.record_batch({"id": ids, "text": pa.array(texts, pa.large_string())})
    rows, rejects = operator.open("cpu")(batch)
    assert len(rejects) == 0
    assert rows.schema == operator.output(batch.schema)
    return rows


def signatures(operator: Signature, texts: list[str]) -> np.ndarray:
    return np.array(sign(operator, texts).column("signature").to_pylist(), np.uint32).reshape(len(texts), -1)


def sketch_of(shingles: list[int], size: int, seed: int) -> np.ndarray:
    signature = np.empty(size, np.uint32)
    hashes = np.array(shingles, np.uint64)
    sketch(hashes, len(hashes), np.uint64(seed), np.empty(size, np.uint64), signature)
    return signature


def sketch_of_definition(shingles: set[int], size: int, seed: int) -> list[int]:
    """Dahlgaard, Knudsen and Thorup 2017, algorithm 1, in Python integers: per round, bucket and smallest value."""
    smallest: dict[int, tuple[int, int]] = {}
    for turn in range(2 * size):
        salt = mix_of_definition(seed ^ (turn * 0x9E3779B97F4A7C15 & M64))
        factor = mix_of_definition(salt) | 1
        for shingle in shingles:
            value = (shingle ^ salt) * factor & M64
            value ^= value >> 32
            place = ((value * 0x9E3779B97F4A7C15 & M64) >> 32) * size >> 32 if turn < size else turn - size
            smallest[place] = min(smallest.get(place, (turn, 1 << 32)), (turn, value & 0xFFFFFFFF))
        if len(smallest) == size:
            break
    entries = [
        (mix_of_definition(turn << 32 | value) if turn else value) & 0xFFFFFFFF
        for turn, value in (smallest[place] for place in range(size))
    ]
    return [value - (value == 0xFFFFFFFF) for value in entries]


@settings(max_examples=60)
@given(st.sets(st.integers(0, M64), min_size=1, max_size=40), st.integers(1, 24), st.integers(0, 9), st.randoms())
def test_the_sketch_is_that_of_the_paper_and_repeats_and_order_do_not_matter(shingles, size, seed, random) -> None:
    repeated = [*shingles, *list(shingles)[:3]]
    random.shuffle(repeated)
    assert sketch_of(repeated, size, seed).tolist() == sketch_of_definition(shingles, size, seed)


@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("count", [3, 30, 128, 900])
def test_equal_components_estimate_the_similarity_without_bias(similarity: float, count: int) -> None:
    generator = np.random.default_rng(count)
    size, trials = 128, 250
    common = round(similarity * count)
    exact = common / count
    shares = []
    for seed in range(trials):
        union = generator.integers(0, 2**64, count, dtype=np.uint64)
        middle = common + (count - common) // 2
        one = sketch_of(union[:middle].tolist(), size, seed)
        other = sketch_of(np.concatenate([union[:common], union[middle:]]).tolist(), size, seed)
        shares.append(float((one == other).mean()))
    error = (exact * (1 - exact) / size) ** 0.5  # of independent permutations
    assert np.mean(shares) == pytest.approx(exact, abs=4 * max(error, 1e-9) / trials**0.5 + 1e-9)
    assert np.std(shares) <= 1.15 * error + 1e-9


def test_signatures_never_change() -> None:
    """The golden numbers: change the version of the tokenizer with them."""
    assert Signature.version == 2
    rows = sign(Signature(permutations=3), ["The quick brown fox jumps over the lazy dog.", "short"])
    assert rows.to_pylist() == [
        {"normalised": "04fc92e1654c7faad2528ba3c0b39592", "signature": [2675635887, 3307700230, 3034631092]},
        {"normalised": "f54b91c8665d64477027cb608370668a", "signature": [0xFFFFFFFF] * 3},
    ]


def test_batches_do_not_matter() -> None:
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, generator.integers(0, 200))) for _ in range(40)]
    texts[7] = "u\u0308ber " * 30
    whole = sign(Signature(), texts)
    parts = [sign(Signature(), texts[start : start + 7]) for start in range(0, 40, 7)]
    assert pa.Table.from_batches(parts).to_pylist() == whole.to_pylist()


def test_a_signature_is_the_sketch_of_the_shingles() -> None:
    text = " ".join(WORDS[:40])
    (shingles,) = Shingler(3).distinct(pa.array([text]))
    expected = sketch_of_definition(set(shingles.tolist()), 16, 5)
    assert signatures(Signature(permutations=16, ngram=3, seed=5), [text]).tolist() == [expected]


def test_short_texts_have_the_empty_signature() -> None:
    columns = signatures(Signature(), ["", "one two three four", "one two three four five"])
    assert (columns == 0xFFFFFFFF).all(axis=1).tolist() == [True, True, False]


def test_hashes_of_texts_are_kept_as_hexadecimal() -> None:
    forms = np.array([[0, 1], [2**64 - 1, 0x0123456789ABCDEF]], np.uint64)
    column = hexadecimal(forms)
    assert column.to_pylist() == ["0" * 31 + "1", "f" * 16 + "0123456789abcdef"]
    assert from_hexadecimal(column).tolist() == forms.tolist()
    assert from_hexadecimal(column[1:]).tolist() == forms[1:].tolist()


def test_the_scheme_names_all_that_the_numbers_depend_on() -> None:
    schemes = {
        operator.scheme
        for operator in (Signature(), Signature(64), Signature(seed=2), Signature(ngram=4), Signature(unspaced="words"))
    }
    assert len(schemes) == 5


def test_empty_batch() -> None:
    assert len(sign(Signature(), [])) == 0


def test_impossible_fields_are_refused() -> None:
    with pytest.raises(RecipeError, match="at least 1"):
        Signature(permutations=0)
    with pytest.raises(RecipeError, match="between 0 and"):
        Signature(seed=-1)
    with pytest.raises(RecipeError, match="at least 1 word"):
        Signature(ngram=0)
