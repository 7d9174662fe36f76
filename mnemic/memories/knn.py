"""kNN-LM itself as a memory: the datastore's keys, a search, and the vote of the neighbours.

Khandelwal et al. (arXiv 1911.00172, equations 2 and 3): p(v) = the sum of softmax(-d^2 / t) over the neighbours whose
next token is v. The other memories imitate it. It needs no training, and predicts better than they do where the store
has the text itself. For this it holds every key (1,152 bytes a token at width 576) and searches at every token. Small
stores are compared whole, larger ones by lists; distances are exact in either way.

At inference a search has one query or a few, so they are not padded to the blocks of a self-join: of lists the queries
of one product are 16, of a small store, whose keys are held as float32, as many as there are.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from mnemic.errors import ModelError
from mnemic.neighbours.exact import ExactSearch
from mnemic.neighbours.layout import Layout
from mnemic.neighbours.lists import Lists

EXACT_ROWS = 20_000
"""Stores up to this size are searched exactly."""

_TOGETHER = 16  # queries of one product
_RECALL = 0.98
_LARGEST_FLOAT16 = 65504.0

T = TypeVar("T")


class KNNMemory:
    """key vector -> log-probabilities over ``tokens``, the sorted ids (int64) of the tokens that are in the store.

    ``keys`` float16 [n, d] and ``token`` [n] are the store's rows, ``document`` int64 [n] the number of the document of
    each, ascending. ``temperature`` and ``k`` are the teacher's. ``layout`` are the lists of a larger store; without
    one they are found and measured here.
    """

    reads: ClassVar[Literal["hidden"]] = "hidden"

    def __init__(
        self,
        keys: Tensor,
        token: Tensor,
        document: Tensor,
        temperature: float,
        k: int = 256,
        layout: Layout | None = None,
    ) -> None:
        if not len(keys) or not len(keys) == len(token) == len(document):
            raise ModelError(
                f"A kNN memory needs keys, tokens and documents of one length and not none, got {len(keys)}, "
                f"{len(token)} and {len(document)}; build the bank with more text."
            )
        if not temperature > 0 or k < 1:
            raise ModelError(f"A kNN memory needs a temperature above 0 and k >= 1, got {temperature} and {k}.")
        self.temperature, self.k = temperature, k
        self.tokens, self.place = torch.unique(token.to(torch.int64), return_inverse=True)
        self.store: ExactSearch | Lists
        if layout is None and len(keys) <= EXACT_ROWS:
            self.store = ExactSearch(keys.float(), document, padded=False)  # 46 MB at most, of width 576
        else:
            self.store = Lists(keys, document, layout)
            self.store.coder = dataclasses.replace(self.store.coder, together=_TOGETHER)
            if layout is None:
                self.store.measure(_RECALL)

    def __len__(self) -> int:
        return len(self.place)

    def log_probs(self, hidden: Tensor, document: Tensor | None = None) -> Tensor:
        """Natural-log probabilities: float32 [..., tokens] for key vectors ``hidden`` [..., d] of any float type.

        -inf where no neighbour has the token. Rows of the query's own ``document`` int64 [...] do not vote; by default
        all do.
        """
        device = self.place.device
        queries = hidden.detach().reshape(-1, hidden.shape[-1]).to(device)  # which neighbours there are has no gradient
        queries = queries.clamp(-_LARGEST_FLOAT16, _LARGEST_FLOAT16).to(torch.float16)
        owner = torch.full((len(queries),), -1, dtype=torch.int64, device=device)
        if document is not None:
            owner = document.reshape(-1).to(owner)
        distances, rows = (torch.from_numpy(part) for part in self._search(queries, owner))
        votes = torch.softmax(-distances.to(device) / self.temperature, dim=1).nan_to_num_(0.0)  # no neighbour at all
        rows = rows.to(device)
        shares = torch.zeros(len(queries), len(self.tokens), device=device)
        shares.scatter_add_(1, self.place[rows.clamp(min=0)], votes.masked_fill(rows < 0, 0.0))
        return shares.log_().view(*hidden.shape[:-1], -1)

    def token_log_prob(self, hidden: Tensor, token: Tensor, document: Tensor | None = None) -> Tensor:
        """log p(token) for each row: float32 [n], -inf where no neighbour has it."""
        place = torch.searchsorted(self.tokens, token.to(self.tokens)).clamp(max=len(self.tokens) - 1)
        logs = self.log_probs(hidden, document).gather(1, place[:, None])[:, 0]
        return logs.masked_fill(self.tokens[place] != token.to(self.tokens), -torch.inf)

    def _search(self, queries: Tensor, owner: Tensor) -> tuple[Any, Any]:
        return self.store.search(queries, owner, min(self.k, len(self)))

    def placed(self, device: torch.device, dtype: torch.dtype) -> KNNMemory:
        """The memory on a device. It searches its float16 keys, whatever ``dtype`` the model has."""
        return self.to(device)

    def to(self, device: torch.device | str) -> KNNMemory:
        """The memory on a device; itself where it is there already."""
        if torch.device(device) == self.place.device:
            return self
        moved = _moved(self, device)
        moved.store = _moved(self.store, device)
        if isinstance(moved.store, Lists):
            for name in ("coder", "codes", "heads"):
                setattr(moved.store, name, _moved(getattr(moved.store, name), device))
        return moved


def _moved(owner: T, device: torch.device | str) -> T:
    """A copy of an object that has its tensors on the device."""
    moved = copy.copy(owner)
    for name, value in vars(owner).items():
        if isinstance(value, Tensor):
            object.__setattr__(moved, name, value.to(device))  # some are frozen
    return moved
