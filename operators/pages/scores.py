"""How much each token of a text is used, by layer and head of its keys: which rows of a page stay.

* Memory^3 (arXiv 2407.01178): attention that a key receives from all queries of its text, without mask and positions.
* KVzip (arXiv 2505.23416): the text is read once more, with a request to repeat it; the largest share of attention that
  a key receives from any query then. It costs a second reading, and is best for answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mnemic.arrays import Floats32
from mnemic.attach.rotation import attention_of
from mnemic.languagemodel import blocks
from mnemic.pages.page import Page
from mnemic.pages.reading import PageReader, ReadPage

KVZIP, MEMORY3, RANDOM, ENDS = "kvzip", "memory3", "random", "ends"
SELECTORS = (KVZIP, MEMORY3, RANDOM, ENDS)

REPEAT = "\n\nRepeat the previous context exactly.\n\n"


def received(model: Any, reading: ReadPage) -> Floats32:
    """Memory^3's score of each key of a text that was read with its queries, float32 [layers, heads, n]."""
    import torch

    scores = []
    for block, queries, keys in zip(blocks(model), reading.queries, reading.page.keys, strict=True):
        weights = products(block, queries, keys).softmax(-1)
        scores.append(weights.unflatten(0, (len(keys), -1)).sum((1, 2)))
    return torch.stack(scores).cpu().numpy()


def repeated(
    reader: PageReader, ids: Sequence[int], page: Page, before: Sequence[Page], request: Sequence[int]
) -> Floats32:
    """KVzip's score of each key of a text ``ids``, whose ``page`` stands behind ``before``: float32 [layers, heads, n].

    ``request`` are the tokens of `REPEAT`, which come before the text that is read again.
    """
    import torch

    standing = [*before, page]
    begin = sum(one.tokens for one in standing)
    again = reader.read([*request, *ids], standing, queries=True)
    places = torch.arange(begin, begin + again.page.tokens, device=reader.model.device)[None]
    future = torch.ones(again.page.tokens, again.page.tokens, dtype=torch.bool, device=reader.model.device).triu(1)
    scores = []
    for block, queries, keys in zip(blocks(reader.model), again.queries, again.cached, strict=True):
        weights = products(block, reader.rotation(queries[None], places)[0], keys[0])
        own = weights.shape[2] - again.page.tokens
        weights[:, :, own:].masked_fill_(future, -torch.inf)
        weights = weights.softmax(-1)[:, :, own - page.tokens : own]
        scores.append(weights.unflatten(0, (keys.shape[1], -1)).amax((1, 2)))
    return torch.stack(scores).cpu().numpy()


def drawn(seed: str, shape: tuple[int, int, int]) -> Floats32:
    """A score by chance, by the text ``seed`` alone: float32 ``shape``."""
    return np.random.Generator(np.random.Philox(int(seed[:16], 16))).random(shape, np.float32)


def latest(shape: tuple[int, int, int]) -> Floats32:
    """A score that is larger the later a token stands: float32 ``shape``."""
    return np.broadcast_to(np.arange(shape[2], dtype=np.float32), shape)


def products(block: Any, queries: Any, keys: Any) -> Any:
    """Scaled products of queries [heads, m, width] with keys of as many or fewer heads, float32 [heads, m, n]."""
    attention = attention_of(block)
    shared = keys.repeat_interleave(queries.shape[0] // keys.shape[0], 0)
    scale = getattr(attention, "scaling", None) or queries.shape[2] ** -0.5
    wide = (one if one.dtype.itemsize == 8 else one.float() for one in (queries, shared))
    first, second = wide
    return first @ second.transpose(1, 2) * scale
