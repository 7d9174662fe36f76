"""What the latents of a bank lose against their texts, and what they cost: of the numbers that their training stored.

No model runs here: each cartridge was measured on sequences that did not train it. Intervals resample texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnemic.bank import Bank
from mnemic.facts import mapping
from mnemic.latents.form import CartridgeForm
from mnemic.memories.cartridges import NAME as CARTRIDGES
from mnemic.memories.memory_tokens import NAME as MEMORY_TOKENS
from pipelines.evaluate.bootstrap import Interval, document_sums, interval

_LOSSES = ("loss_none", "loss_text", "loss", "kl_none", "kl_start", "kl")


@dataclass(frozen=True)
class CartridgeReport:
    """``losses`` are nats a held-out token, by the name of their column; ``worth`` is the share of the text's in KL.

    ``start_worth`` is that of the rows before training. ``bytes`` are of all cartridges, ``text_tokens`` of all texts.
    ``refused`` cartridges lose more than their bound.
    """

    texts: int
    refused: int
    text_tokens: int
    bytes: int
    trained_tokens: float
    training_flops: float
    losses: dict[str, Interval]
    worth: Interval
    start_worth: Interval


@dataclass(frozen=True)
class MemoryTokenReport:
    """``exact`` texts come back from their vectors; ``right`` is the share of tokens before the first wrong one."""

    texts: int
    exact: int
    text_tokens: int
    vectors: int
    right: float


def cartridge_report(bank: Bank) -> CartridgeReport | None:
    """None where the bank has no cartridges."""
    names = {info.name: info for info in bank.memories()}
    if CARTRIDGES not in names:
        return None
    rows = bank.table(CARTRIDGES, ["rows", "tokens", "ok", "metrics", *_LOSSES])
    if not len(rows):
        return None
    form = CartridgeForm.of_config(names[CARTRIDGES].config, CARTRIDGES)
    columns = {name: rows[name].to_numpy().astype(np.float64) for name in _LOSSES}
    sums, draws = document_sums(np.arange(len(rows)), 1000, 0, *columns.values())
    drawn, whole = draws @ sums, sums.sum(0)
    losses = {
        name: interval(float(whole[place] / whole[-1]), drawn[:, place] / drawn[:, -1])
        for place, name in enumerate(_LOSSES)
    }
    costs = [mapping(one, "The metrics of a cartridge") for one in rows["metrics"].to_pylist()]
    return CartridgeReport(
        len(rows),
        int(len(rows) - np.count_nonzero(rows["ok"].to_numpy())),
        int(rows["tokens"].to_numpy().sum()),
        sum(form.size(one) for one in rows["rows"].to_pylist()),
        float(sum(one.get("trained_tokens", 0.0) for one in costs)),
        float(sum(one.get("training_flops", 0.0) for one in costs)),
        losses,
        _share(whole, drawn, "kl"),
        _share(whole, drawn, "kl_start"),
    )


def memory_token_report(bank: Bank) -> MemoryTokenReport | None:
    """None where the bank has no memory tokens."""
    if MEMORY_TOKENS not in {info.name for info in bank.memories()}:
        return None
    rows = bank.table(MEMORY_TOKENS, ["tokens", "vectors", "right", "exact"])
    tokens = int(rows["tokens"].to_numpy().sum())
    return MemoryTokenReport(
        len(rows),
        int(np.count_nonzero(rows["exact"].to_numpy())),
        tokens,
        int(rows["vectors"].to_numpy().sum()),
        float(rows["right"].to_numpy().sum() / max(tokens, 1)),
    )


def shown_latents(cartridges: CartridgeReport | None, tokens: MemoryTokenReport | None) -> list[str]:
    """Both as lines for a person."""
    lines = []
    if cartridges is not None:
        own = cartridges
        lines += [
            "",
            f"cartridges: {own.texts:,} of texts of {own.text_tokens:,} tokens, {own.bytes / 1e6:,.1f} MB; "
            f"{own.refused:,} lose more than their bound and are never attached",
            "  nats a held-out token, of sequences that trained none",
        ]
        named = (("model alone", "loss_none"), ("with the text", "loss_text"), ("with the cartridge", "loss"))
        lines += [_line(name, own.losses[column]) for name, column in named]
        named = (("alone", "kl_none"), ("untrained rows", "kl_start"), ("cartridge", "kl"))
        lines += [_line(f"KL from the text, {name}", own.losses[column]) for name, column in named]
        worth = own.worth
        lines.append(
            f"  of what the text is worth kept {worth.value:.0%}, 95 % {worth.low:.0%} to {worth.high:.0%}; "
            f"untrained rows {own.start_worth.value:.0%}"
        )
        lines.append(f"  training: {own.trained_tokens:,.0f} tokens, {own.training_flops:.3g} operations")
    if tokens is not None:
        lines += [
            "",
            f"memory tokens: {tokens.exact:,} of {tokens.texts:,} texts come back exactly, from {tokens.vectors:,} "
            f"vectors for {tokens.text_tokens:,} tokens; {tokens.right:.0%} of the tokens stand before a wrong one",
        ]
    return lines


def _share(whole: NDArray[np.float64], drawn: NDArray[np.float64], column: str) -> Interval:
    """The share of the KL of the model alone that ``column`` saves."""
    none, own = _LOSSES.index("kl_none"), _LOSSES.index(column)
    least = 1e-12
    value = 1 - whole[own] / max(whole[none], least)
    return interval(float(value), 1 - drawn[:, own] / np.maximum(drawn[:, none], least))


def _line(name: str, value: Interval) -> str:
    return f"  {name:<38} {value.value:8.3f}   95 % {value.low:.3f} to {value.high:.3f}"
