"""How much of held-out text stands in an index, by brute force."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mnemic.memories.held_out import HeldOutRows
from mnemic.suffixes.evidence import contexts_of
from mnemic.suffixes.index import SuffixIndex
from mnemic.suffixes.shard import Shard
from pipelines.evaluate.copies import by_length, copied, match_lengths


class NoTokens:
    """A view of a bank without the dataset `tokens`: the first token of a document is not known."""

    def __contains__(self, dataset: str) -> bool:
        return False


def rows_of(texts: list[list[int]]) -> HeldOutRows:
    columns = {
        "document": [f"document {number}" for number, text in enumerate(texts) for _ in text[1:]],
        "position": pa.array([place for text in texts for place in range(1, len(text))], pa.int32()),
        "token": pa.array([token for text in texts for token in text[1:]], pa.uint16()),
    }
    return HeldOutRows(NoTokens(), pa.table(columns))  # type: ignore[arg-type]


def stands(span: list[int], texts: list[list[int]]) -> bool:
    return any(text[at : at + len(span)] == span for text in texts for at in range(len(text) - len(span) + 1))


@pytest.mark.parametrize("span, vocabulary", [(2, 30), (3, 9), (5, 4)])
def test_a_token_is_copied_where_a_long_enough_span_around_it_stands_in_the_index(span, vocabulary):
    draw = np.random.default_rng(span)
    texts = [draw.integers(0, vocabulary, draw.integers(3, 30)).tolist() for _ in range(12)]
    queries = [draw.integers(0, vocabulary, draw.integers(2, 25)).tolist() for _ in range(8)]
    index = SuffixIndex([Shard.of([np.array(text) for text in texts], [str(n) for n in range(12)], 40)])
    expected, lengths = [], []
    for text in queries:
        rest = text[1:]  # the first token is not there
        for place in range(1, len(text)):
            spans = [
                (begin, end)
                for begin in range(1, place + 1)
                for end in range(place + 1, len(text) + 1)
                if end - begin >= span and stands(text[begin:end], texts)
            ]
            expected.append(bool(spans))
            before = rest[: place - 1]
            lengths.append(max(size for size in range(len(before) + 1) if size == 0 or stands(before[-size:], texts)))
    before = contexts_of(rows_of(queries))
    np.testing.assert_array_equal(copied(index, before, span), expected)
    assert any(expected) and not all(expected)
    np.testing.assert_array_equal(match_lengths(index, before), lengths)


def test_losses_by_length_add_up_to_the_whole():
    draw = np.random.default_rng(0)
    lengths, loss = draw.integers(0, 60, 500), draw.exponential(size=500)
    buckets = by_length(lengths, {"base": loss})
    assert [bucket.least for bucket in buckets] == [0, 8, 32] and sum(bucket.tokens for bucket in buckets) == 500
    assert buckets[1].losses["base"] == pytest.approx(loss[(lengths >= 8) & (lengths < 32)].mean())
    assert sum(bucket.tokens * bucket.losses["base"] for bucket in buckets) == pytest.approx(loss.sum())
    assert by_length(np.array([40]), {"base": [1.0]})[0].least == 32
