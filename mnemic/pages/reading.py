"""A model reads a text behind pages, in its own cache: what it has of the text, and how well it says what follows.

The model is called below its hooks, so memories at its output and prefixes of others take no part, and reading is
possible while the model answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnemic.attach.cache import Prefix
from mnemic.attach.reading import captured, capturing
from mnemic.attach.rotation import Rotation
from mnemic.errors import ModelError
from mnemic.pages.page import Page

if TYPE_CHECKING:
    import torch

SINK = "Here is what I remember.\n"
"""Text that every page is read behind, and that stands once before all of them.

The first tokens of a text draw attention whatever they say. Pages that were read without it would each bring their own.
"""


@dataclass(frozen=True, eq=False)
class ReadPage:
    """A text that was read: its ``page``, and by layer its queries before rotation, [heads, n, width], if asked for.

    ``cached`` are the keys of the model's own cache by layer, [1, heads, n of all, width]: rotated, those of the pages
    before it too.
    """

    page: Page
    queries: list[torch.Tensor]
    cached: list[torch.Tensor]


class PageReader:
    """``model`` reads. Raises `ModelError` where positions of its keys are not understood."""

    def __init__(self, model: Any) -> None:
        self.model, self.rotation = model, Rotation(model)

    def read(
        self, ids: Sequence[int], behind: Sequence[Page] = (), *, queries: bool = False, first: int | None = None
    ) -> ReadPage:
        """Read tokens ``ids`` behind pages; the text begins at position ``first``, None: where they end."""
        with capturing(self.rotation, queries) as captures:
            output = self._pass(ids, behind, first, logits_to_keep=1)
        keys, values, *queries_of = captured(captures)
        cached = [layer.keys for layer in output.past_key_values.layers]
        return ReadPage(Page.of(Prefix(keys, values)), [part[0] for one in queries_of for part in one], cached)

    def losses(self, ids: Sequence[int], behind: Sequence[Page]) -> torch.Tensor:
        """Loss of each of ``ids`` but the first, in nats, behind pages: float64 [n - 1]."""
        import torch

        logits = self._pass(ids, behind, None).logits[0, :-1]
        targets = torch.tensor(list(ids[1:]), device=logits.device)
        wide = logits.double() if logits.dtype == torch.float64 else logits.float()
        return torch.nn.functional.cross_entropy(wide, targets, reduction="none").double().cpu()

    def cache(self, pages: Sequence[Page]) -> tuple[Any, int]:
        """A cache of the model with ``pages`` one behind the other, and the position behind them."""
        from transformers import DynamicCache

        cache, begin = DynamicCache(config=self.model.config), 0
        device, dtype = self.model.device, self.model.dtype
        for page in pages:
            prefix = page.prefix()
            _, places, length = prefix.standing()
            keys = [own.to(device, dtype) for own in prefix.keys]
            rotated = self.rotation.layers(keys, (places + begin).to(device))
            for layer, (own, values) in enumerate(zip(rotated, prefix.values, strict=True)):
                cache.update(own, values.to(device, dtype), layer)
            begin += int(length[0])
        return cache, begin

    def _pass(self, ids: Sequence[int], behind: Sequence[Page], first: int | None, **more: Any) -> Any:
        import torch

        device = self.model.device
        with torch.no_grad():
            cache, begin = self.cache(behind)
            begin = begin if first is None else first
            limit = self.rotation.limit
            if limit is not None and begin + len(ids) > limit:
                raise ModelError(
                    f"A text of {len(ids):,} tokens behind {begin:,} does not fit into the model's {limit:,} "
                    "positions; read a shorter one."
                )
            read = torch.tensor(list(ids), device=device)[None]
            positions = torch.arange(begin, begin + len(ids), device=device)[None]
            return self.model.forward(
                input_ids=read, past_key_values=cache, position_ids=positions, use_cache=True, **more
            )


def page_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of each text as a page has them: it ends with a line, so that no token goes on into what follows."""
    ended = [text if text.endswith("\n") else f"{text}\n" for text in texts]
    ids: list[list[int]] = tokenizer(ended, add_special_tokens=False, verbose=False)["input_ids"] if ended else []
    return ids


def sink_ids(tokenizer: Any, sink: str) -> list[int]:
    """The tokens of the sink, with what the tokenizer begins a text with."""
    ids: list[int] = list(tokenizer(sink)["input_ids"])
    return ids
