"""MinHash signatures: datasketch's numbers, an unbiased estimate, and nothing for texts that are too short."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from operators.deduplicate import Signature
from operators.deduplicate.shingles import normalised_hash, shingle_hashes

WORDS = [f"word{i}" for i in range(300)]


def sign(operator: Signature, texts: list[str]) -> pa.RecordBatch:
    ids = pa.array([str(i) for i in range(len(texts))], pa.string())
    batch = pa.record_batch({"id": ids, "text": pa.array(texts, pa.large_string())})
    rows, rejects = operator.open("cpu")(batch)
    assert len(rejects) == 0
    assert rows.schema == operator.output(batch.schema)
    return rows


def signatures(operator: Signature, texts: list[str]) -> np.ndarray:
    return np.array(sign(operator, texts).column("signature").to_pylist(), np.uint32).reshape(len(texts), -1)


def by_datasketch(operator: Signature, text: str) -> list[int]:
    sketch = MinHash(operator.permutations, seed=operator.seed, scheme="affine32", hashfunc=lambda value: value)
    sketch.update_batch((shingle_hashes(text, operator.ngram) & np.uint64(0xFFFFFFFF)).tolist())
    return sketch.hashvalues.tolist()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS[:12]), max_size=25).map(" ".join), min_size=1, max_size=6),
    st.integers(1, 4),
    st.integers(1, 20),
    st.integers(0, 9),
)
def test_signature_is_datasketch_s(texts: list[str], ngram: int, permutations: int, seed: int) -> None:
    operator = Signature(permutations=permutations, ngram=ngram, seed=seed)
    assert signatures(operator, texts).tolist() == [by_datasketch(operator, text) for text in texts]


def test_signatures_never_change() -> None:
    """The golden numbers: change ``version`` with them."""
    assert Signature.version == 1
    rows = sign(Signature(permutations=3), ["The quick brown fox jumps over the lazy dog.", "short"])
    assert rows.to_pylist() == [
        {"normalised": "ac96d8e2e3b497a19b0f3dd60e2420ec", "signature": [1392895015, 447369248, 2180231712]},
        {"normalised": "e0a31a29d910268d15c3f35e2adb3107", "signature": [0xFFFFFFFF] * 3},
    ]


def test_batches_do_not_matter() -> None:
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, generator.integers(0, 200))) for _ in range(40)]
    whole = sign(Signature(), texts)
    parts = [sign(Signature(), texts[start : start + 7]) for start in range(0, 40, 7)]
    assert pa.Table.from_batches(parts).to_pylist() == whole.to_pylist()
    assert whole.column("normalised").to_pylist() == [normalised_hash(text) for text in texts]


def test_equal_components_estimate_the_similarity() -> None:
    one, other = WORDS[:260], WORDS[20:280]
    first, second = (set(shingle_hashes(" ".join(words), 5).tolist()) for words in (one, other))
    exact = len(first & second) / len(first | second)
    a, b = signatures(Signature(permutations=2000), [" ".join(one), " ".join(other)])
    assert (a == b).mean() == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 2000) ** 0.5)


def test_short_texts_have_the_empty_signature() -> None:
    assert (signatures(Signature(), ["", "one two three four", "one two three four five"]) == 0xFFFFFFFF).all(
        axis=1
    ).tolist() == [True, True, False]


def test_empty_batch() -> None:
    assert len(sign(Signature(), [])) == 0


def test_impossible_fields_are_refused() -> None:
    with pytest.raises(RecipeError, match="at least 1"):
        Signature(permutations=0)
    with pytest.raises(RecipeError, match="between 0 and"):
        Signature(seed=-1)
