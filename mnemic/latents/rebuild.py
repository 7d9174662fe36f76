"""A text from the vectors that were trained for it: the model reads them behind one token, and decodes greedily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.ids import hash_parts

if TYPE_CHECKING:
    import torch


def begin_of(tokenizer: Any) -> int:
    """The token that vectors stand behind: the one that texts begin with, else the one that ends them, else 0."""
    named = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    return next((int(one) for one in named if one is not None), 0)


def entering(model: Any, begin: int, vectors: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Input embeddings [1, 1 + v + n, hidden]: the token ``begin``, ``vectors`` [v, hidden], ``ids`` int64 [n]."""
    import torch

    table = model.get_input_embeddings()
    device = table.weight.device
    first, last = (table(part.to(device)) for part in (torch.tensor([begin]), ids))
    return torch.cat([first, vectors.to(device, first.dtype), last])[None]


def decoded(model: Any, begin: int, vectors: torch.Tensor, count: int) -> list[int]:
    """``count`` tokens that the model writes behind ``vectors`` [v, hidden], the most likely one each time.

    The model's own decoder runs, without what has entered the model at its output, its cache or its prompt.
    """
    import torch
    from transformers import DynamicCache

    head = languagemodel.output_embedding(model)
    with torch.inference_mode():
        cache = DynamicCache(config=model.config)
        inputs = entering(model, begin, vectors, torch.zeros(0, dtype=torch.int64))
        ids: list[int] = []
        while len(ids) < count:
            hidden = model.base_model(inputs_embeds=inputs, past_key_values=cache, use_cache=True).last_hidden_state
            ids.append(int((hidden[0, -1] @ head.T).float().argmax()))
            inputs = model.get_input_embeddings()(torch.tensor([[ids[-1]]], device=head.device))
    return ids


def hash_of_ids(ids: list[int]) -> str:
    """The hash by which a rebuilt text is known."""
    return hash_parts("ids", *ids)
