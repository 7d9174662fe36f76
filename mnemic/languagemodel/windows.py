"""How a language model reads texts: in overlapping windows of tokens, in batches of constant shape.

A long text is read in windows that advance by a stride. Every token but the text's first is scored exactly once, with
at least ``window - stride`` tokens of context once the text has them. Windows are padded to a bucket's length, batches
filled with dummy rows. Attention is causal and padding stands on the right, so a row depends on its own window and
bucket alone and is bit-equal in any batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHARACTERS_PER_TOKEN = 4
"""Of English text under a vocabulary of about 50,000; planning needs no tokenizer. Text beyond this many characters for
each allowed token is neither compared nor scored."""


_BUCKETS = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)


@dataclass(frozen=True)
class Window:
    """Tokens [begin, end) of a document, of which [scored, end) are scored here."""

    begin: int
    scored: int
    end: int


def windows(tokens: int, window: int, stride: int) -> list[Window]:
    """Windows over a document of ``tokens`` tokens; together they score each token but the first exactly once.

    The last one ends with the document and starts ``window`` tokens before, so all windows of a long document are full.
    """
    if tokens < 2:
        return []
    parts = [Window(0, 1, min(window, tokens))]
    while (covered := parts[-1].end) < tokens:
        end = min(covered + stride, tokens)
        parts.append(Window(end - window, covered, end))
    return parts


def bucket_lengths(window: int) -> list[int]:
    """Padded lengths of windows: a fixed ladder up to ``window``, so that less than half of a row is padding."""
    return [length for length in _BUCKETS if length < window] + [window]


def window_batches(
    tokens: Sequence[int], window: int, stride: int, batch_tokens: int
) -> Iterator[tuple[tuple[int, int], list[tuple[int, Window]]]]:
    """Forward passes over documents of these many tokens: (shape, the (document, window) of each row that is used).

    The shape is [rows, positions], the same for all passes of a bucket, with at most ``batch_tokens`` positions unless
    it is one row.
    """
    lengths = bucket_lengths(window)
    waiting: dict[int, list[tuple[int, Window]]] = {length: [] for length in lengths}
    for document, count in enumerate(tokens):
        for part in windows(count, window, stride):
            length = next(length for length in lengths if length >= part.end - part.begin)
            waiting[length].append((document, part))
    for length, members in waiting.items():
        size = max(1, batch_tokens // length)
        for begin in range(0, len(members), size):
            yield (size, length), members[begin : begin + size]


def encode(texts: Sequence[str], tokenizer: Any, limit: int) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int64]]]:
    """The first ``limit`` tokens of each text, int32 [tokens], and the characters at which they begin, int64."""
    if not texts:
        return [], []
    beginnings = [text[: limit * CHARACTERS_PER_TOKEN] for text in texts]
    encoded = tokenizer(beginnings, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    tokens = [np.asarray(row[:limit], dtype=np.int32) for row in encoded["input_ids"]]
    starts = [np.asarray(row[:limit], dtype=np.int64).reshape(-1, 2)[:, 0] for row in encoded["offset_mapping"]]
    return tokens, starts


def padded_windows(
    tokens: Sequence[NDArray[np.int32]], shape: tuple[int, int], members: Sequence[tuple[int, Window]]
) -> NDArray[np.int64]:
    """Input of one forward pass: the windows' token ids, int64 ``shape``, with zeros to their right and below.

    ``tokens`` has an int32 [tokens] for each document; a member is (document, window).
    """
    ids = np.zeros(shape, dtype=np.int64)
    for row, (document, part) in enumerate(members):
        ids[row, : part.end - part.begin] = tokens[document][part.begin : part.end]
    return ids
