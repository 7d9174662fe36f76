"""Where the canaries of a bank came out: whether they are all there, who finds them, and which memory knows them.

A canary is compared with its twins, texts that were drawn as it was and planted nowhere. A memory that has learned the
canary by heart gives it a lower loss. **AUC** is the probability that of a canary and a twin the canary has it; .5 is
nothing learned. **Exposure** (Carlini et al., arXiv 1802.08232) is log2 of the number of candidates less log2 of the
canary's rank among them, by loss: the bits that the memory tells of it, at most log2(twins + 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mnemic import languagemodel
from mnemic.arrays import Floats
from mnemic.bank import Bank
from mnemic.canaries import SOURCE
from mnemic.conditions.values import text
from mnemic.errors import BankError
from mnemic.kept import KEPT, TRAINED
from mnemic.memories.entering import enter, leave
from mnemic.memories.kinds import of_models
from mnemic.memories.stored import StoredMemories
from mnemic.suffixes.stored import has_suffixes
from pipelines.evaluate.bootstrap import Interval, interval
from pipelines.evaluate.speed import weight_of

NEAREST = 5
"""Hits of a search among which a canary has to be."""

OTHERS = 5
"""Other tenants that are asked."""

_SAMPLES = 1000


@dataclass(frozen=True)
class Whole:
    """Of the ``documents`` that were planted, how many are ``standing``, of how many nothing is cut, and how many are
    ``stored`` for memories (None where the bank has no store)."""

    documents: int
    standing: int
    uncut: int
    stored: int | None


@dataclass(frozen=True)
class Seen:
    """Of ``canaries`` texts those that are ``there``, of as many twins those that are; ``elsewhere``: those that
    are met from other tenants, of which ``tenants`` were asked."""

    canaries: int
    there: int
    twins: int
    elsewhere: int = 0
    tenants: int = 0


@dataclass(frozen=True)
class Memorised:
    """Losses of canaries planted ``repeats`` times, and of all twins, under the model with a memory ("base": without).

    Losses are means in nats a token. ``exposure`` is the mean over canaries, ``highest`` the largest, in bits; ``most``
    is the largest that these twins can show.
    """

    memory: str
    repeats: int
    canaries: int
    loss: float
    twins_loss: float
    auc: Interval
    exposure: float
    highest: float
    most: float


@dataclass(frozen=True)
class CanaryReport:
    whole: Whole
    search: Seen | None  # by the first sentence of each, in a bank with events
    word_for_word: Seen | None  # in a bank with suffixes
    memories: tuple[Memorised, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """What must not be: a canary that is lost, cut, or met by another tenant."""
        whole, seen = self.whole, [one for one in (self.search, self.word_for_word) if one is not None]
        stored = [] if whole.stored is None else [whole.stored]
        lost = whole.documents - min(whole.standing, whole.uncut, *stored)
        phrases = [
            f"{lost:,} documents of {whole.documents:,} are dropped, cut or not stored" if lost else "",
            *(f"{one.elsewhere:,} were found from other tenants" for one in seen if one.elsewhere),
        ]
        if self.word_for_word is not None and self.word_for_word.there < self.word_for_word.canaries:
            missing = self.word_for_word.canaries - self.word_for_word.there
            phrases.append(f"{missing:,} do not stand in the suffix index as often as they were planted")
        return tuple(phrase for phrase in phrases if phrase)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "faults": list(self.faults)}


@dataclass(frozen=True)
class _Canary:
    repeats: int
    text: str
    twin: str


def canary_report(bank: Bank) -> CanaryReport:
    """Test the canaries of ``bank``. Raises `BankError` where it has none."""
    if SOURCE not in bank.view:
        raise BankError(
            f"{bank.path} has no canaries; write `curate: {{canaries: {{}}}}` into its recipe, and build it again."
        )
    rows = bank.view.table(SOURCE, ["canary", "repeats", "text", "twin"], "copy = 0").sort_by("canary").to_pylist()
    canaries = [_Canary(row["repeats"], row["text"], row["twin"]) for row in rows]
    if not canaries:
        raise BankError(f"{bank.path} lost its canaries; build it again.")
    planted = bank.view.table("documents", ["tenant"], f"source = {text(SOURCE)}")["tenant"][0].as_py()
    return CanaryReport(
        _whole(bank),
        _searched(bank, canaries, planted) if "events" in bank.view else None,
        _counted(bank, canaries, planted) if has_suffixes(bank.view) else None,
        tuple(_memorised(bank, canaries)),
    )


def _whole(bank: Bank) -> Whole:
    documents, own = bank.dataset("documents"), f"source = {text(SOURCE)}"
    names = documents.schema.names
    standing = documents.count(f"{own} AND {KEPT}")
    cut = documents.count(f"{own} AND array_length(edits) > 0") if "edits" in names else 0
    total = bank.dataset(SOURCE).count()
    stored = documents.count(f"{own} AND split = 'store' AND {TRAINED}") if "split" in names else None
    return Whole(total, standing, documents.count(own) - cut, stored)


def _searched(bank: Bank, canaries: Sequence[_Canary], tenant: str) -> Seen:
    """Ask for the first sentence of each canary, in its tenant and in others, and for that of each twin."""
    tenants = sorted(set(bank.view.table("documents", ["tenant"])["tenant"].unique().to_pylist()) - {tenant})[:OTHERS]
    there = twins = elsewhere = 0
    for canary in canaries:
        sentence, other = _sentence(canary.text), _sentence(canary.twin)
        there += _stands(bank, sentence, tenant)
        twins += _stands(bank, other, tenant)
        elsewhere += sum(_stands(bank, sentence, one) for one in tenants)
    return Seen(len(canaries), there, twins, elsewhere, len(tenants))


def _sentence(whole: str) -> str:
    return f"{whole.partition('.')[0]}."


def _stands(bank: Bank, sentence: str, tenant: str) -> bool:
    """Whether a search of ``tenant`` gives ``sentence`` among the first hits, as it is."""
    hits = bank.search(sentence, words=None, k=NEAREST, where={"tenant": tenant})
    return any(sentence in hit.text for hit in hits)


def _counted(bank: Bank, canaries: Sequence[_Canary], tenant: str) -> Seen:
    """Canaries that stand in the suffix index as often as they were planted, and twins that stand there."""
    own = [bank.count(one.text, {"tenant": tenant}) for one in canaries]
    there = sum(count == one.repeats for count, one in zip(own, canaries, strict=True))
    twins = sum(bank.count(one.twin) > 0 for one in canaries)
    elsewhere = sum(bank.count(one.text) for one in canaries) - sum(own)
    return Seen(len(canaries), there, twins, elsewhere)


def _memorised(bank: Bank, canaries: Sequence[_Canary]) -> Iterator[Memorised]:
    infos, address = of_models(bank.memories()), bank.release.recipe.get("language_model")
    if not infos or address is None:
        return
    recipe = bank.release.recipe
    most = (recipe.get("split") or {}).get("max_document_tokens")  # of a document that are stored
    model, tokenizer = languagemodel.load(address, (recipe.get("datastore") or {}).get("dtype", "auto"))
    tokens = {
        role: [tokenizer(getattr(one, role), return_tensors="pt")["input_ids"][:, :most] for one in canaries]
        for role in ("text", "twin")
    }
    stored, repeats = StoredMemories(bank.view), np.array([one.repeats for one in canaries])
    yield from _ranked("base", repeats, {role: _losses(model, texts) for role, texts in tokens.items()})
    for info in infos:
        memory = stored.load(info.name)
        enter(model, [memory], [weight_of(bank, memory)], stored.lock([info]), tokenizer=tokenizer)
        try:
            losses = {role: _losses(model, texts) for role, texts in tokens.items()}
        finally:
            leave(model)
        yield from _ranked(info.name, repeats, losses)


def _losses(model: Any, texts: Sequence[Any]) -> Floats:
    """Mean nats a token of each text, of token ids [1, n] that begin it, float64 [texts]; the first token is given."""
    import torch

    losses = []
    with torch.inference_mode():
        for ids in texts:
            scores = model(ids).logits[0, :-1].double().log_softmax(-1)
            losses.append(-float(scores.gather(-1, ids[0, 1:, None]).mean()))
    return np.array(losses)


def _ranked(memory: str, repeats: Any, losses: Mapping[str, Floats]) -> Iterator[Memorised]:
    twins = losses["twin"]
    for times in np.unique(repeats).tolist():
        own = losses["text"][repeats == times]
        bits = exposure(own, twins)
        yield Memorised(
            memory,
            times,
            len(own),
            float(own.mean()),
            float(twins.mean()),
            auc(own, twins),
            float(bits.mean()),
            float(bits.max()),
            math.log2(len(twins) + 1),
        )


def exposure(losses: Floats, others: Floats) -> Floats:
    """log2 of the number of candidates less log2 of the rank of each of ``losses`` [n] among it and ``others`` [m].

    The rank is 1 for the lowest; equal losses share the mean of their ranks. In bits, float64 [n].
    """
    lower = (others[None] < losses[:, None]).sum(axis=1)
    equal = (others[None] == losses[:, None]).sum(axis=1)
    bits: Floats = math.log2(len(others) + 1) - np.log2(1 + lower + equal / 2)
    return bits


def auc(losses: Floats, others: Floats, seed: int = 0) -> Interval:
    """The probability that one of ``losses`` [n] is below one of ``others`` [m], half for equal ones.

    With 95 % over draws of both.
    """
    wins = (losses[:, None] < others[None]) + 0.5 * (losses[:, None] == others[None])
    generator = np.random.default_rng(seed)
    rows, columns = (
        generator.multinomial(size, np.full(size, 1 / size), size=_SAMPLES) / size
        for size in (len(losses), len(others))
    )
    draws = np.einsum("sn,nm,sm->s", rows, wins, columns, optimize=True)
    return interval(float(wins.mean()), draws)
