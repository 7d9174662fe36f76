"""How much of a held-out document others contain, against sets of word 5-grams."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from operators.contained import Contained


class Rows:
    """A corpus of held-out texts."""

    def __init__(self, texts):
        self.texts = texts

    def __len__(self):
        return len(self.texts)

    def batches(self, columns, size=8192):
        for start in range(0, len(self.texts), size):
            yield pa.RecordBatch.from_pydict({"text": pa.array(self.texts[start : start + size], pa.large_string())})


def shingles(text):
    words = text.lower().split()
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


def shares(operator, held_out, texts):
    fitted = operator.fit(Rows(held_out), "cpu", lambda done, total: None)
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    whole = fitted(batch)["contained"].to_numpy()
    again = operator.restore(fitted.state, Rows(held_out), "cpu")
    parts = [again(batch.slice(start, 3))["contained"].to_numpy() for start in range(0, len(texts), 3)]
    assert np.array_equal(np.concatenate(parts), whole)
    return whole


@pytest.fixture(scope="module")
def texts():
    draw = np.random.default_rng(0)
    words = [f"word{number}" for number in range(12)]
    return [" ".join(draw.choice(words, size)) for size in draw.integers(3, 60, 40)]


def test_it_is_the_largest_share_of_a_held_out_document(texts):
    held_out, others = (
        texts[:8],
        [*texts[8:], f"Before. {texts[0].upper()} And behind.", texts[1][: len(texts[1]) // 2]],
    )
    expected = [
        max((len(shingles(text) & shingles(one)) / len(shingles(one)) for one in held_out if shingles(one)), default=0)
        for text in others
    ]
    measured = shares(Contained(), held_out, others)
    assert np.allclose(measured[:-2], expected[:-2])
    assert measured[-2] == 1.0


def test_a_short_document_inside_a_long_one_counts_whatever_the_length():
    short = " ".join(f"s{number}" for number in range(40))
    long = " ".join(f"l{number}" for number in range(4000))
    measured = shares(Contained(), [short], [f"{long} {short} {long}", long, short[: len(short) // 2]])
    assert measured[0] == 1.0 and measured[1] == 0.0 and 0.3 < measured[2] < 0.6


def test_the_part_that_is_scored_counts_for_itself():
    words = [f"w{number}" for number in range(4000)]
    long, beginning = " ".join(words), " ".join(words[:200])
    few = Contained(max_document_tokens=100)
    assert shares(Contained(max_document_tokens=10_000), [long], [beginning])[0] < 0.1
    assert shares(few, [long], [beginning])[0] == 1.0


def test_nothing_held_out_is_contained_in_nothing(texts):
    assert shares(Contained(), ["too short"], texts).max() == 0.0
