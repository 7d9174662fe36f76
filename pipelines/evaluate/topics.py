"""Perplexity with memories inside the model, as lines for a person."""

from __future__ import annotations

from mnemic.terminal import one_line
from pipelines.evaluate.blocks import PREFIX, BlockPerplexity
from pipelines.evaluate.bootstrap import Comparison


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
    return lines


def _line(name: str, comparison: Comparison, against: str) -> str:
    own, ratio = comparison.perplexity, comparison.ratio
    return (
        f"  {name:<22} {own.value:8.2f}   95 % {own.low:.2f} to {own.high:.2f}; "
        f"times {against} {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
    )
