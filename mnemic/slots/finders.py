"""From a layer's input to slots, and from their values to what the layer adds: one finder a layer, one table for all.

All is computed in float32, whatever the model's type. Without training a table adds nothing, bit for bit: the last
matrix is zero, or, for experts, every row down.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from mnemic.errors import ModelError
from mnemic.memories.shapes import check_shapes
from mnemic.memories.weights import pack, unpack_metadata
from mnemic.slots.layout import EXPERTS, SlotLayout
from mnemic.slots.ngrams import addresses
from mnemic.slots.product import best_pairs

_EPSILON = 1e-6


class SlotTable(Protocol):
    """The values of slots."""

    def fetch(self, slots: Tensor) -> tuple[list[Tensor], Tensor]:
        """For ``slots`` int64 [n, fired]: each vector of the different ones, float32 [u, value], and where each is.

        The places are int64 [n, fired].
        """


class ProductKeys(nn.Module):
    """Slots are pairs of sub-keys; the heads of a position fire the best pairs of its two queries."""

    def __init__(self, layout: SlotLayout) -> None:
        super().__init__()
        self.layout = layout
        self.query = nn.Linear(layout.width, layout.heads * 2 * layout.key, bias=False)
        self.keys = nn.Parameter(torch.zeros(layout.heads, 2, layout.side, layout.key))
        if layout.layout != EXPERTS:
            self.gate = nn.Linear(layout.width, layout.value, bias=False)
            self.out = nn.Linear(layout.value, layout.width, bias=False)

    def start(self, draw: torch.Generator) -> None:
        """Draw all but the last matrix, which stays zero."""
        bound = self.layout.key**-0.5
        self.keys.data.uniform_(-bound, bound, generator=draw)
        self.query.weight.data.normal_(0, self.layout.width**-0.5, generator=draw)
        if self.layout.layout != EXPERTS:
            self.gate.weight.data.normal_(0, self.layout.width**-0.5, generator=draw)
            self.out.weight.data.zero_()

    def find(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Weights float32 and slots int64, [n, fired], for ``hidden`` [n, width]; the weights of a head sum to 1."""
        layout = self.layout
        query = self.query(hidden).view(-1, layout.heads, 2, layout.key)
        query = functional.layer_norm(query, (layout.key,))
        scores = torch.einsum("nhpk,hpsk->pnhs", query, self.keys)
        sums, slots = best_pairs(scores[0], scores[1], layout.top)
        return sums.softmax(-1).flatten(1), slots.flatten(1)

    def forward(self, hidden: Tensor, contexts: Tensor | None, table: SlotTable) -> Tensor:
        """What the layer adds, [n, width], for its input ``hidden`` of that shape."""
        weights, slots = self.find(hidden)
        vectors, places = table.fetch(slots)
        if self.layout.layout == EXPERTS:
            units = (vectors[0][places] @ hidden[..., None])[..., 0]
            return _sums(places, vectors[1], weights * functional.gelu(units))
        read = _sums(places, vectors[0], weights)
        added: Tensor = self.out(read * functional.silu(self.gate(hidden)))
        return added


class HashedNGrams(nn.Module):
    """Slots are hashes of the last tokens; a gate compares what they hold with the layer's input."""

    def __init__(self, layout: SlotLayout) -> None:
        super().__init__()
        self.layout = layout
        self.key = nn.Linear(layout.fired * layout.value, layout.width, bias=False)
        self.value = nn.Linear(layout.fired * layout.value, layout.width, bias=False)

    def start(self, draw: torch.Generator) -> None:
        """Draw the matrix of the gate; that of the values stays zero."""
        self.key.weight.data.normal_(0, self.key.in_features**-0.5, generator=draw)
        self.value.weight.data.zero_()

    def forward(self, hidden: Tensor, contexts: Tensor | None, table: SlotTable) -> Tensor:
        """What the layer adds, [n, width]; ``contexts`` are the last tokens, canonical ids int64 [n, longest]."""
        layout = self.layout
        assert contexts is not None
        vectors, places = table.fetch(addresses(contexts, layout.orders, layout.heads, layout.slots))
        read = vectors[0][places].flatten(1)
        width = (layout.width,)
        key, own = (functional.rms_norm(one, width, eps=_EPSILON) for one in (self.key(read), hidden))
        gate = torch.sigmoid((key * own).sum(-1, keepdim=True) / layout.width**0.5)
        added: Tensor = gate * self.value(read)
        return added


class Finders(nn.Module):
    """The finders of all layers. ``canonical``, int64 [vocabulary], is there where n-grams are hashed."""

    format: ClassVar[str] = "mnemic-slots-1"
    canonical: Tensor | None

    def __init__(self, layout: SlotLayout, canonical: Tensor | None = None) -> None:
        super().__init__()
        self.layout = layout
        kind = HashedNGrams if layout.hashed else ProductKeys
        self.finders = nn.ModuleList([kind(layout) for _ in layout.layers])
        self.register_buffer("canonical", canonical)

    def start(self, seed: int) -> None:
        """Draw the weights from ``seed``; a layer's do not depend on how many there are."""
        for number, finder in enumerate(self.finders):
            finder.start(torch.Generator().manual_seed(seed * 1009 + number))  # type: ignore[operator]

    def added(self, number: int, hidden: Tensor, contexts: Tensor | None, table: SlotTable) -> Tensor:
        """What the layer at place ``number`` adds, of the shape and type of its input ``hidden`` [..., width].

        ``contexts``, token ids int64 [..., longest] (`NO_TOKEN`: none there), are asked for where n-grams are hashed.
        """
        if contexts is not None:
            assert self.canonical is not None
            contexts = torch.where(contexts < 0, contexts, self.canonical[contexts.clamp(min=0)])
            contexts = contexts.reshape(-1, contexts.shape[-1])
        added: Tensor = self.finders[number](hidden.reshape(-1, hidden.shape[-1]).float(), contexts, table)
        return added.view(hidden.shape).to(hidden.dtype)

    def to_bytes(self) -> bytes:
        """All but the table, as one safetensors file."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        return pack(tensors, {"format": self.format, "config": self.layout.config()})

    @classmethod
    def from_bytes(cls, data: bytes, layout: SlotLayout) -> Self:
        """Those of `to_bytes`, on the CPU and in evaluation mode. Raises `ModelError` for anything else."""
        metadata = unpack_metadata(data)
        if metadata.get("format") != cls.format or metadata.get("config") != layout.config():
            raise ModelError(
                "These weights are no finders of slots of the form that their memory says; install the version of "
                "mnemic that wrote them or build the memory again."
            )
        try:
            check_shapes(data, layout.shapes, whole=("canonical",))
            tensors = load(data)
            broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
            ids = tensors.get("canonical")
            if ids is not None and not bool(((ids >= 0) & (ids < layout.vocabulary)).all()):
                broken = ["canonical"]
            if broken:
                raise ValueError(f"{broken[0]} has numbers that cannot be")
            finders = cls(layout, ids)
            finders.load_state_dict(tensors)
        except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
            raise ModelError(f"The weights of this memory are damaged ({error}); build the memory again.") from error
        return finders.eval()


def usage(uses: Tensor) -> dict[str, float]:
    """Of how often each slot fired, [slots]: the share that did, the distance from an even use, the largest share.

    ``slot_kl`` is KL(use || even use) in nats, 0 where all slots fire alike.
    """
    share = uses.double() / max(1.0, float(uses.sum()))
    kl = float(torch.special.xlogy(share, share * len(share)).sum())
    return {"slot_usage": float((uses > 0).double().mean()), "slot_kl": kl, "top_slot_share": float(share.max())}


def _sums(places: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of the rows at ``places`` [n, fired]: [n, value]."""
    summed: Any = functional.embedding_bag(places, rows, mode="sum", per_sample_weights=weights)
    return summed  # type: ignore[no-any-return]
