"""Rules over the statistics of documents: expressions, thresholds, and which of them fire."""

from mnemic.rules.expression import Expression, parsed
from mnemic.rules.rule import Rule, Verdicts, judge

__all__ = ["Expression", "Rule", "Verdicts", "judge", "parsed"]
