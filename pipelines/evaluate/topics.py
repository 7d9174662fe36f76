"""Perplexity with memories inside the model, as lines for a person."""

from __future__ import annotations

from mnemic.terminal import one_line
from pipelines.evaluate.blocking import BlockedSubtree
from pipelines.evaluate.blocks import PREFIX, BlockPerplexity
from pipelines.evaluate.bootstrap import Comparison, Interval


def shown_topics(one: BlockPerplexity) -> list[str]:
    """Of one held-out part."""
    kind = "held-out documents" if one.part == "document" else "documents of held-out collections"
    documents = f"{one.documents} {kind}"
    lines = [
        f"perplexity with memories inside ({documents}, {one.tokens:,} tokens; each is routed by its first {PREFIX})",
        f"  {'base':<22} {one.base:8.2f}",
    ]
    lines += [_line(f"+ {name}", comparison, "base") for name, comparison in one.comparisons.items()]
    if one.generic is not None:
        lines.append(_line("fetched, of control", one.generic, "control"))
    lines += [_line(f"+ {name}", comparison, "base") for name, comparison in one.together.items()]
    if one.topics:
        lines.append("  nats a token by topic, without blocks and with those fetched")
    for topic in one.topics:
        name = f"{topic.node} {one_line(topic.label, 40)}".strip()
        lines.append(
            f"    {name:<46} {topic.base:8.3f} {topic.fetched:8.3f}   {topic.documents} documents, "
            f"{topic.tokens:,} tokens"
        )
    if one.blocked:
        lines.append("  perplexity where a topic is blocked (95 %)")
    return lines + [line for subtree in one.blocked for line in _blocked(subtree)]


def _blocked(one: BlockedSubtree) -> list[str]:
    """The perplexities of a subtree's documents, then the ratios between them."""
    name = f"{one.node} {one_line(one.label, 40)}".strip() if one.node else "all topics, each alone"
    ratios = [
        f"blocked / with its blocks {_ratio(one.effect.ratio)}",
        f"blocked / without memory {_ratio(one.blocked.ratio)}",
    ]
    if one.elsewhere is not None:
        ratios.append(f"another topic's blocks / without memory {_ratio(one.elsewhere.ratio)}")
    return [
        f"    {name:<46} {one.documents} documents, {one.tokens:,} tokens",
        f"      without memory {_perplexity(one.base)}, with its blocks {_perplexity(one.fetched.perplexity)}, "
        f"blocked {_perplexity(one.blocked.perplexity)}",
        f"      {', '.join(ratios)}",
    ]


def _perplexity(interval: Interval) -> str:
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _ratio(interval: Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _line(name: str, comparison: Comparison, against: str) -> str:
    own, ratio = comparison.perplexity, comparison.ratio
    return f"  {name:<22} {own.value:8.2f}   95 % {own.low:.2f} to {own.high:.2f}; times {against} {_ratio(ratio)}"
