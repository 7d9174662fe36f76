"""What is left to ask about a pack, from the verdicts on the answers that there are.

A pack is settled where it has a good answer, or one that was bad twice; one whose answer was cut is settled where its
two halves are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from operators.written.operator import ATTEMPTS
from pipelines.keyset import KeySet


@dataclass(frozen=True)
class AskedPart:
    """A pack, or a part of one whose answer was cut: ``path`` names halves of halves.

    ``fault`` is that of its last answer, "" for none.
    """

    pack: Mapping[str, Any]
    path: str = ""
    attempt: int = 0
    fault: str = ""

    @property
    def units(self) -> list[Mapping[str, Any]]:
        return self._divided()[1]

    @property
    def context(self) -> list[Mapping[str, Any]]:
        """Units before its own, as many as the pack has."""
        return self._divided()[0]

    def halves(self) -> tuple[AskedPart, ...]:
        """Its two halves; none for a single unit."""
        if len(self.units) < 2:
            return ()
        return AskedPart(self.pack, f"{self.path}0"), AskedPart(self.pack, f"{self.path}1")

    def _divided(self) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
        before, units = list(self.pack["context"]), list(self.pack["units"])
        size = max(len(before), 1)
        for half in self.path:
            middle = len(units) // 2
            before, units = (before, units[:middle]) if half == "0" else (before + units[:middle], units[middle:])
        return before[-size:] if self.pack["context"] else [], units


@dataclass
class PackVerdicts:
    """What the rows of `calls` say: packs with a good whole answer, and the verdicts of all others."""

    good: KeySet
    others: dict[str, dict[str, list[tuple[int, str, str]]]] = field(default_factory=dict)
    """Pack -> part -> (attempt, verdict, reason) in order."""

    def left(self, pack: Mapping[str, Any]) -> list[AskedPart]:
        """The parts of a pack, which has no good whole answer, that are to be asked now."""
        verdicts = self.others.get(pack["pack"], {})
        left, look = list[AskedPart](), [AskedPart(pack)]
        while look:
            part = look.pop(0)
            after = follow_up(part, verdicts.get(part.path, []))
            if after is None:
                continue
            (left if len(after) == 1 and after[0].path == part.path else look).extend(after)
        return left

    def refused(self) -> Iterator[tuple[str, str, str]]:
        """(pack, part, reason) of each part that gets no good answer."""
        for pack, parts in self.others.items():
            for path, verdicts in parts.items():
                last = max(verdicts)
                bad = last[1] == "bad" and last[0] + 1 >= ATTEMPTS
                if bad or (last[1] == "cut" and f"{path}0" not in parts):
                    yield pack, path, last[2]


def follow_up(part: AskedPart, verdicts: Sequence[tuple[int, str, str]]) -> Sequence[AskedPart] | None:
    """The parts to ask after these answers about ``part``: itself, once more, or its halves; None for nothing."""
    if not verdicts:
        return [part]
    attempt, verdict, reason = max(verdicts)
    if verdict == "good" or (verdict == "bad" and attempt + 1 >= ATTEMPTS):
        return None
    if verdict == "bad":
        return [AskedPart(part.pack, part.path, attempt + 1, reason)]
    return part.halves() or None
