"""What a tenant may have of a release that holds several: trained weights hold the text of all their documents.

A memory that is searched can be narrowed to the tenant's documents. One that was trained, and the datastore with its
neighbours, is the tenant's only where every document behind it is: all documents of the datastore, and all that a split
has chosen. A document that was removed since has no tenant any more, so a memory that has learnt one is nobody's.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.bank import Bank
from mnemic.errors import BankError
from mnemic.memories.kinds import KINDS, is_known, kind, of_models
from mnemic.terminal import one_line

_SHOWN = 8


def tenants_of(bank: Bank) -> list[str]:
    """The tenants of the documents of a release, in order; "" stands for documents without one."""
    return sorted(pc.unique(bank.table("documents", ["tenant"])["tenant"]).to_pylist())


def only_tenant(bank: Bank, stated: str | None) -> str:
    """The tenant that a server or a token is bound to: ``stated``, or the one that there is.

    Raises `BankError` where there are several and none is stated, and for a stated one of no document.
    """
    tenants = tenants_of(bank)
    listed = ", ".join(one_line(one, 60) or "(none)" for one in tenants[:_SHOWN])
    more = f" and {len(tenants) - _SHOWN:,} more" if len(tenants) > _SHOWN else ""
    if stated is None:
        if len(tenants) > 1:
            raise BankError(
                f"{bank.path} has {len(tenants):,} tenants ({listed}{more}), and nobody may see all of them. Say whose "
                "memory is served with --tenant NAME, or give each a token: --tokens FILE --new-token NAME."
            )
        return str(tenants[0]) if tenants else ""
    if stated not in tenants:
        raise BankError(
            f"{bank.path} has no document of the tenant {one_line(stated, 60)!r}. There are: {listed}{more}. Name one "
            "of them."
        )
    return stated


@dataclass(frozen=True)
class AllowedMemories:
    """The memories of a release for one tenant: ``whole`` as they are, ``narrowed`` to the tenant's documents.

    ``others`` are there and refused. ``alone``: the release has no document of another tenant.
    """

    whole: tuple[str, ...]
    narrowed: tuple[str, ...]
    others: tuple[str, ...]
    alone: bool

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.whole, *self.narrowed)

    @classmethod
    def of(cls, bank: Bank, tenant: str) -> AllowedMemories:
        """The memories that act in a language model, for ``tenant``."""
        documents = bank.table("documents", [name for name in _READ if name in bank.dataset("documents").schema.names])
        mine = pc.equal(documents["tenant"], tenant)
        alone = bool(pc.all(mine, min_count=0).as_py())
        taught = alone or _taught(bank, documents, documents["id"].filter(mine))
        stale = bank.stale()
        whole, narrowed, others = [], [], []
        for info in of_models(bank.memories()):
            narrows = is_known(info.kind) and getattr(kind(info.kind), "narrows", False)
            if narrows and not alone:
                narrowed.append(info.name)
            elif info.name not in stale and (alone or (taught and info.kind in KINDS)):
                whole.append(info.name)
            else:
                others.append(info.name)
        return cls(tuple(whole), tuple(narrowed), tuple(others), alone)


_READ = ("id", "tenant", "split")


def _taught(bank: Bank, documents: pa.Table, mine: pa.ChunkedArray) -> bool:
    """Whether every document that trainings may have read is one of ``mine``: those chosen, and those scored."""
    read = []
    if "split" in documents.schema.names:
        chosen = pc.and_(pc.is_valid(documents["split"]), pc.not_equal(documents["split"], ""))
        read.append(documents["id"].filter(pc.fill_null(chosen, False)))
    if "datastore" in bank.release.versions:
        read.append(pc.unique(bank.table("datastore", ["document"])["document"]))
    return all(bool(pc.all(pc.is_in(ids, value_set=mine), min_count=0).as_py()) for ids in read)
