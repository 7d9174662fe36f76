"""The rows of a text that a cartridge starts from.

"picked" are those that a head's queries of the whole text weigh most, with neither mask nor positions (Memory3, arXiv
2407.01178, section 3): a row that stands for the text whoever asks. The last rows of a text always stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mnemic.attach.rotation import attention_of
from mnemic.languagemodel import blocks
from mnemic.pages.page import Page

if TYPE_CHECKING:
    import torch

LAST = 4
"""Rows at the end of a text that always stay."""

_QUERIES = 256
"""Queries that are compared at a time."""


def first_rows(text: Page, number: int) -> Page:
    """The first ``number`` rows; what is read behind them stands behind their own places."""
    part = text.stood()[..., :number]
    return Page(text.keys[..., :number, :], text.values[..., :number, :], min(number, text.tokens), part)


def rows_of_pages(pages: Sequence[Page]) -> Page:
    """The rows of ``pages`` at consecutive places, float32; of a sparse page those that it has."""
    import torch

    places, begin = [], 0
    for page in pages:
        places.append(page.stood() + begin)
        begin += page.tokens
    keys, values = (torch.cat([getattr(page, part).float() for page in pages], 2) for part in ("keys", "values"))
    return Page(keys, values, begin, torch.cat(places, 2))


def picked_rows(text: Page, scores: torch.Tensor, number: int) -> Page:
    """The ``number`` rows of each layer and head with the largest of ``scores`` [layers, heads, n], in their order.

    Of equal ones the first. They stay at their places, and the text takes up as many positions as before.
    """
    if number >= text.rows:
        return text
    ranked = scores.clone()
    ranked[..., -min(LAST, number) :] = float("inf")
    order = ranked.sort(dim=-1, descending=True, stable=True).indices[..., :number].sort(dim=-1).values
    wide = order[..., None].expand(*order.shape, text.keys.shape[3]).to(text.keys.device)
    stood = text.stood()
    places = stood.gather(2, order.to(stood.device))
    return Page(text.keys.gather(2, wide), text.values.gather(2, wide), text.tokens, places)


def attention_received(model: Any, ids: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """The attention that each row of a text receives, float32 [layers, heads, n], without mask and positions.

    ``ids`` int64 [m] are the tokens that ask, ``keys`` [layers, heads, n, width] the rows before rotation.
    """
    import torch

    attentions = [attention_of(block) for block in blocks(model)]
    queries: list[torch.Tensor] = []

    def capture(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
        queries.append(output.detach())

    hooks = [_query_module(one).register_forward_hook(capture) for one in attentions]
    try:
        with torch.no_grad():
            model(input_ids=ids[None].to(keys.device), use_cache=False, logits_to_keep=1)
    finally:
        for hook in hooks:
            hook.remove()
    layers = zip(attentions, queries, keys, strict=True)
    return torch.stack([_received(attention, query, key) for attention, query, key in layers])


def _query_module(attention: Any) -> Any:
    for name in ("q_norm", "q_proj", "query_key_value"):
        if hasattr(attention, name):
            return getattr(attention, name)
    return attention.c_attn


def _received(attention: Any, output: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Of one layer, float32 [heads, n]; ``output`` is what its query module gave, ``keys`` [heads, n, width]."""
    import torch

    heads, count, width = keys.shape
    if hasattr(attention, "query_key_value"):
        query = output[0].reshape(output.shape[1], -1, 3 * width)[..., :width]
    else:
        query = output[0].reshape(output.shape[1], -1, width)
    by_head = query.transpose(0, 1).float().reshape(heads, -1, width)  # of a group of heads
    scale = float(getattr(attention, "scaling", width**-0.5))
    received = torch.zeros(heads, count, device=keys.device)
    for some in torch.split(by_head, _QUERIES, dim=1):
        received += (some @ keys.float().transpose(1, 2) * scale).softmax(-1).sum(1)
    return received
