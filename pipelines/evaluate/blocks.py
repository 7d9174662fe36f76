"""Perplexity of held-out documents with memories inside the model: blocks of their topic, of another, slots, none.

A document is routed by its first 256 tokens, which are not scored, so nothing of what is scored chooses the blocks.
Beside it stand the blocks that the whole document leads to, the fallback and the control (each one block for all
topics), the blocks of another topic, and those of level 1 alone. The model runs here, once without the memory and once
with all of them as rows of one batch. A table of slots stands beside them, alone and with the blocks that were fetched,
and so do the memories at the output (`together`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from mnemic import languagemodel
from mnemic.attach.host import Host
from mnemic.bank import Bank
from mnemic.blocks.layout import CONTROL, FALLBACK, GENERIC, above
from mnemic.edits import readable_documents
from mnemic.ids import unit_draw
from mnemic.languagemodel.windows import encode
from mnemic.memories.blocks import NAME, StoredBlocks
from mnemic.memories.kinds import Memory
from mnemic.memories.slots import NAME as SLOTS
from mnemic.mixture import perplexity
from mnemic.quoting import one_of
from mnemic.splits import in_part
from pipelines.evaluate.blocking import BLOCKED, BlockedSubtree, Losses, blocked_subtrees, subtree_of
from pipelines.evaluate.bootstrap import Comparison, bootstrap
from pipelines.evaluate.together import together

if TYPE_CHECKING:
    import torch

PREFIX = 256
"""Tokens that route a document and are not scored."""

PARTS = ("test-document", "test-collection")


@dataclass(frozen=True)
class TopicGain:
    """Mean losses in nats a token of the documents of a node of level 1, without blocks and with those fetched."""

    node: str
    label: str
    documents: int
    tokens: int
    base: float
    fetched: float


@dataclass(frozen=True)
class BlockPerplexity:
    """Perplexity on one held-out part: of the model, and with blocks against it.

    ``generic`` is the control against the fetched blocks, where there is a control: below 1 in its ratio, a topic's own
    blocks are worth less than one of their size for all topics. ``together`` are mixtures with memories at the output.
    """

    part: str
    documents: int
    tokens: int
    base: float
    comparisons: dict[str, Comparison]
    generic: Comparison | None
    topics: tuple[TopicGain, ...]
    together: dict[str, Comparison] = field(default_factory=dict)
    blocked: tuple[BlockedSubtree, ...] = ()


@dataclass(frozen=True)
class RoutedDocument:
    """A held-out document: its tokens int32 [n], and its leaves by its beginning and as a whole."""

    id: str
    tokens: npt.NDArray[np.int32]
    leaf: str
    whole: str


def block_perplexities(bank: Bank, prefix: int = PREFIX, most: int | None = None) -> Iterator[BlockPerplexity]:
    """Of each part with documents of more than ``prefix`` tokens, at most so many of them."""
    names = {info.name for info in bank.memories()}
    memory = cast(StoredBlocks, bank.memory(NAME)) if NAME in names else None
    slots = bank.memory(SLOTS) if SLOTS in names else None
    recipe = bank.release.recipe
    model, tokenizer = languagemodel.load(recipe["language_model"], recipe[NAME if memory else SLOTS]["dtype"])
    for part in PARTS:
        documents = routed_documents(bank, memory, tokenizer, in_part(part), prefix)[:most]
        if documents:
            yield _measured(bank, memory, slots, model, part, documents, prefix)


def routed_documents(
    bank: Bank, memory: StoredBlocks | None, tokenizer: Any, where: str, prefix: int
) -> list[RoutedDocument]:
    """The documents that satisfy ``where`` and have more than ``prefix`` tokens, by id, with their leaves.

    Without a ``memory`` the leaves are "".
    """
    rows = readable_documents(bank.dataset("documents"), where).sort_by("id")
    limit = bank.release.recipe["split"]["max_document_tokens"]
    tokens, _ = encode(rows["text"].to_pylist(), tokenizer, limit)
    names = rows["id"].to_pylist()
    if memory is None:
        every = zip(names, tokens, strict=True)
        return [RoutedDocument(name, own, "", "") for name, own in every if len(own) > prefix + 1]
    sessions = bank.view.table(
        "events", ["document", "words", "cluster"], f"level = 'session' AND {one_of('document', names)}"
    )
    longest: dict[str, tuple[int, str]] = {}
    for row in sessions.to_pylist():
        longest[row["document"]] = max(longest.get(row["document"], (-1, "")), (row["words"], row["cluster"] or ""))
    return [
        RoutedDocument(name, own, memory.routes.leaf(tokenizer.decode(own[:prefix])), longest.get(name, (0, ""))[1])
        for name, own in zip(names, tokens, strict=True)
        if len(own) > prefix + 1
    ]


def other_topic(memory: StoredBlocks, leaf: str, document: str) -> str:
    """A node with a block of another topic, drawn by the document; "" where there is none."""
    own = above(leaf)[:1]
    others = [path for path in memory.module.paths if path not in GENERIC and above(path)[:1] != own]
    deepest = [path for path in others if not any(other.startswith(f"{path}.") for other in others)]
    return deepest[int(unit_draw(0, "other topic", document) * len(deepest))] if deepest else ""


def losses_at(
    model: Any,
    memory: StoredBlocks | None,
    tokens: npt.NDArray[np.int32],
    leaves: Sequence[str],
    prefix: int,
    *beside: Memory,
) -> npt.NDArray[np.float64]:
    """Loss of each token from ``prefix`` on, in nats: [leaves, n - prefix], read with the blocks of each leaf.

    Without a ``memory`` there is one row, of the model alone. The memories ``beside`` act in all rows.
    """
    import torch

    ids = torch.from_numpy(tokens.astype(np.int64))[None].repeat(max(1, len(leaves)), 1).to(model.device)
    host = Host.of(model)
    routed = [] if memory is None else [memory.at(*leaves)]
    try:
        with contextlib.ExitStack() as entered, torch.inference_mode():
            for one in (*routed, *beside):
                entered.enter_context(one.enter(host, 1.0))
            scored = len(tokens) - prefix + 1
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=scored).logits[:, :-1]
            return np.stack([_loss(row, ids[0, prefix:]) for row in logits])
    finally:
        if host.idle:
            host.close()


def _loss(logits: torch.Tensor, token: torch.Tensor) -> npt.NDArray[np.float64]:
    import torch

    loss = torch.nn.functional.cross_entropy(logits.float(), token, reduction="none")
    values: npt.NDArray[np.float64] = loss.double().cpu().numpy()
    return values


def _measured(
    bank: Bank,
    memory: StoredBlocks | None,
    slots: Memory | None,
    model: Any,
    part: str,
    documents: Sequence[RoutedDocument],
    prefix: int,
) -> BlockPerplexity:
    losses: dict[str, list[Losses]] = {}
    for one in documents:
        for name, loss in _losses(model, memory, slots, one, prefix):
            losses.setdefault(name, []).append(loss)
    owner = np.repeat(np.arange(len(documents)), [len(one.tokens) - prefix for one in documents])
    flat = {name: np.concatenate(rows) for name, rows in losses.items()}
    base = flat.pop("base")
    flat.pop(BLOCKED, None)
    topics = bank.table("clusters", ["path", "label"]).to_pylist() if memory else []
    labels = {row["path"]: row["label"] for row in topics}
    mixed = {name: losses[name] for name in ("base", "fetched", SLOTS, f"fetched + {SLOTS}") if name in losses}
    return BlockPerplexity(
        part.removeprefix("test-"),
        len(documents),
        len(base),
        perplexity(base),
        {name: bootstrap(base, loss, owner) for name, loss in flat.items()},
        bootstrap(flat[CONTROL], flat["fetched"], owner) if CONTROL in flat else None,
        tuple(_topics(labels, documents, losses)) if memory else (),
        together(bank, in_part(part), documents, mixed, prefix),
        tuple(_blocked(memory, labels, documents, losses)) if memory else (),
    )


def _losses(
    model: Any, memory: StoredBlocks | None, slots: Memory | None, one: RoutedDocument, prefix: int
) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    """Of a document, by what the model is read with: "base" first."""
    yield "base", losses_at(model, None, one.tokens, (), prefix)[0]
    if memory is not None:
        generic = [name for name in GENERIC if name in memory.module]
        leaves = {
            "fetched": one.leaf,
            "whole document": one.whole,
            "level 1": (above(one.leaf) or ("",))[0],
            "other topic": other_topic(memory, one.leaf, one.id),
            **{name: name for name in generic},
        }
        rows = losses_at(model, memory, one.tokens, list(leaves.values()), prefix)
        yield from zip(leaves, rows, strict=True)
        node = subtree_of(memory, one.leaf)
        yield BLOCKED, losses_at(model, memory.without(node), one.tokens, [one.leaf], prefix)[0] if node else rows[0]
    if slots is not None:
        yield SLOTS, losses_at(model, None, one.tokens, (), prefix, slots)[0]
        if memory is not None:
            yield f"fetched + {SLOTS}", losses_at(model, memory, one.tokens, [one.leaf], prefix, slots)[0]


def _blocked(
    memory: StoredBlocks,
    labels: Mapping[str, str],
    documents: Sequence[RoutedDocument],
    losses: Mapping[str, Sequence[Losses]],
) -> Iterator[BlockedSubtree]:
    subtrees = {above(path)[0] for path in memory.module.paths if path not in GENERIC}
    other = losses["other topic"] if len(subtrees) > 1 else None
    return blocked_subtrees([subtree_of(memory, one.leaf) for one in documents], labels, losses, other)


def _topics(
    labels: Mapping[str, str], documents: Sequence[RoutedDocument], losses: Mapping[str, Sequence[Losses]]
) -> Iterator[TopicGain]:
    members: dict[str, list[int]] = {}
    for place, one in enumerate(documents):
        members.setdefault((above(one.leaf) or (FALLBACK,))[0], []).append(place)
    for node in sorted(members, key=lambda node: (len(node), node)):
        base, fetched = (np.concatenate([losses[name][at] for at in members[node]]) for name in ("base", "fetched"))
        yield TopicGain(
            node, labels.get(node, ""), len(members[node]), len(base), float(base.mean()), float(fetched.mean())
        )
