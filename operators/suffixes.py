"""The suffix index of a corpus, in shards, and how shards come, grow together and go.

A shard has documents of one tenant and a bounded number of tokens. New documents become shards of their own, in the
order of their ids. The last of these is rarely full; it takes up those of before that are at most twice as large, as a
log-structured merge tree does (O'Neil et al. 1996), so a corpus that grows by small steps has few shards, and a token
is sorted again a number of times that grows with the logarithm of the corpus. Where documents were removed, their shard
alone is built again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mnemic.catalogue import CATALOGUE
from mnemic.suffixes.construct import LARGEST_SHARD
from operators.contracts import Resources, bounds, refuse
from operators.sections import Driven, Section

ABSORBED = 2
"""Times as large as what comes anew a shard may be to be taken up by it."""


@dataclass(frozen=True)
class Suffixes:
    """``shard_tokens``: tokens of a shard, at most, unless one document has more; a worker needs 12 bytes of each."""

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(memory=2 << 30)

    shard_tokens: int = 64_000_000

    def __post_init__(self) -> None:
        within = 1 <= self.shard_tokens <= LARGEST_SHARD // 4
        rules = (("shard_tokens", within, f"a number from 1 to {LARGEST_SHARD // 4:,}"),)
        refuse(bounds(self, "The setting {name} of suffixes is {value}; give {bound}.", rules))


SECTION = Section(
    "suffixes",
    Suffixes,
    Driven("pipelines.steps.suffixes:SuffixesStep", after=("tokens",), datasets=(CATALOGUE["suffixes"],)),
)


@dataclass(frozen=True)
class StandingShard:
    """A shard that stands: its ``tokens`` without those of the ``removed`` documents, which are numbers in it."""

    shard: str
    tokens: int
    removed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Planned:
    """A shard to build: of the documents that shards have which it ``absorbs``, and of ``added`` ones by number."""

    tenant: str
    absorbs: tuple[StandingShard, ...]
    added: tuple[int, int]  # of the tenant's new documents, [first, last)
    tokens: int


def planned(
    standing: Mapping[str, Sequence[StandingShard]], added: Mapping[str, Sequence[int]], limit: int
) -> list[Planned]:
    """The shards to build, by tenant: of the shards that are ``standing``, and of new documents with so many tokens.

    A shard that is in no `Planned` stays. Depends on its arguments alone, not on their order within a tenant's shards.
    """
    plans = []
    for tenant in sorted({*standing, *added}):
        shards = sorted(standing.get(tenant, ()), key=lambda one: (one.tokens, one.shard))
        runs = list(_runs(added.get(tenant, ()), limit))
        absorbed = _absorbed(shards, runs[-1][2], limit) if runs else ()
        plans += [Planned(tenant, (), (first, last), tokens) for first, last, tokens in runs[:-1]]
        plans += [
            Planned(tenant, absorbed, (first, last), tokens + sum(one.tokens for one in absorbed))
            for first, last, tokens in runs[-1:]
        ]
        left = [one for one in shards if one.removed and one.tokens and one not in absorbed]
        plans += [Planned(tenant, (one,), (0, 0), one.tokens) for one in left]
    return plans


def _runs(sizes: Sequence[int], limit: int) -> Iterable[tuple[int, int, int]]:
    """(first, last, tokens) of documents of these ``sizes`` in shards of up to ``limit`` tokens, or one document."""
    first, tokens = 0, 0
    for number, size in enumerate(sizes):
        if number > first and tokens + size > limit:
            yield first, number, tokens
            first, tokens = number, 0
        tokens += size
    if len(sizes):
        yield first, len(sizes), tokens


def _absorbed(shards: Sequence[StandingShard], tokens: int, limit: int) -> tuple[StandingShard, ...]:
    """Those of ``shards``, by size, that a new one of ``tokens`` takes up, each while it is small beside the rest."""
    absorbed = []
    for one in shards:
        if one.tokens > ABSORBED * tokens or tokens + one.tokens > limit:
            break
        absorbed.append(one)
        tokens += one.tokens
    return tuple(absorbed)
