"""`mnemic eval --canaries`: what became of the canaries of a bank, as lines for a person."""

from __future__ import annotations

from mnemic.memories.kinds import is_known, kind
from pipelines.evaluate.canaries import NEAREST, CanaryReport, Memorised, Seen


def shown_canaries(report: CanaryReport) -> str:
    """A report as lines for a person."""
    whole = report.whole
    stored = "" if whole.stored is None else f", {whole.stored:,} stored for memories"
    lines = [f"canaries: {whole.documents:,} documents planted; {whole.kept:,} kept, {whole.uncut:,} uncut{stored}"]
    if report.search is not None:
        lines += _seen(f"found among {NEAREST} by their first sentence", report.search)
    if report.word_for_word is not None:
        lines += _seen("in the suffix index as often as planted", report.word_for_word)
    if report.memories:
        most = report.memories[0].most
        lines += ["", f"nats a token; exposure in bits, of at most {most:.1f} that the twins can show"]
        head = f"{'planted':>8} {'loss':>8} {'twins':>8}   {'AUC':>4} {'95 %':>12}   {'exposure':>8} {'most':>5}"
        lines.append(f"  {'':<22} {head}")
        lines += [_memorised(one) for one in report.memories]
    lines += ["", *(f"fault: {fault}" for fault in report.faults)] if report.faults else []
    return "\n".join(lines)


def _seen(what: str, seen: Seen) -> list[str]:
    others = f"; {seen.elsewhere:,} from {seen.asked:,} other tenants" if seen.asked else ""
    return [f"  {what}: {seen.found:,} of {seen.canaries:,}, {seen.twins:,} of their twins{others}"]


def _memorised(one: Memorised) -> str:
    name = "base" if one.memory == "base" else f"+ {kind(one.memory).title if is_known(one.memory) else one.memory}"
    between = f"{one.auc.low:.2f} to {one.auc.high:.2f}"
    return (
        f"  {name:<22} {one.repeats:>7}x {one.loss:>8.3f} {one.twins_loss:>8.3f}   {one.auc.value:>4.2f} {between:>12}"
        f"   {one.exposure:>8.2f} {one.highest:>5.2f}"
    )
