"""The numbers of a release at a glance: how many rows each stage left, and what its steps say is due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mnemic.bank import Bank
from mnemic.catalogue import CATALOGUE, spec_of
from mnemic.dataset import Snapshot
from mnemic.dataset.compaction import DUE, fewer
from mnemic.errors import BankError
from mnemic.fitted import fitted_fragments
from mnemic.kept import KEPT
from mnemic.schema import LEVELS
from mnemic.splits import STORE


def dues(lineage: dict[str, Any]) -> list[str]:
    """The work that the steps of a release call due, in sentences."""
    return [record["found"]["due"] for record in lineage.values() if record.get("found", {}).get("due")]


def upkeep_dues(bank: Bank) -> list[str]:
    """What the files of a release call due, in sentences: read off the manifests, no row is looked at.

    Nothing is due of a release that cannot be read as a whole; `mnemic verify` says what is wrong with it.
    """
    try:
        saved = _saved({name: bank.dataset(name) for name in bank.release.versions})
    except BankError:
        return []
    if sum(saved.values()) < DUE:
        return []
    most = max(saved, key=lambda name: saved[name])
    return [
        f"Compaction is due: {sum(saved.values()):,} fragments would go, most of them of {most}. `mnemic compact "
        f"{bank.path}` merges them; the content stays."
    ]


def waiting_dues(bank: Bank) -> list[str]:
    """What waits in the inbox for the next build."""
    calls = bank.inbox()
    if not calls:
        return []
    since = f"{calls[0].remembered:%Y-%m-%d %H:%M}"
    return [f"{len(calls):,} remembered texts wait for the next build, the oldest since {since} UTC"]


def _saved(snapshots: Mapping[str, Snapshot]) -> dict[str, int]:
    """Fragments of each dataset that compaction would save."""
    fitted = frozenset[int]()
    if "clusters" in snapshots and "events" in snapshots:
        fitted = fitted_fragments(snapshots["events"], snapshots["clusters"].record)
    return {
        name: fewer(one, lambda fragment, name=name: name == "events" and fragment.id in fitted)  # type: ignore[misc]
        for name, one in snapshots.items()
        if spec_of(name, one.schema).merged
    }


def funnel(bank: Bank) -> dict[str, int]:
    """How many rows each stage of the bank left, from documents read to rows of the datastore.

    Datasets of other packages come last, by their names.
    """
    documents = bank.dataset("documents")
    counts = {"documents": documents.count()}
    if "decision" in documents.schema.names:
        counts["dropped by rules"] = documents.count("decision.rule <> ''")
    if "perplexity" in documents.schema.names:
        counts["dropped by perplexity"] = documents.count("perplexity.rule <> ''")
    if "pairs" in bank.release.versions:
        exact = bank.dataset("pairs").count("rule = 'exact' AND verdict = 'duplicate'")  # one for each copy
        near = documents.count("duplicate_of <> ''") - exact
        counts |= {"exact duplicates": exact, "near duplicates": near}
    counts["kept"] = documents.count(KEPT)
    if "subset" in documents.schema.names:
        counts |= {"taken of leaves": documents.count("subset.leaves")}
        counts |= {"taken at random": documents.count("subset.random")}
    counts["units"] = bank.release.counts.get("units", 0)
    events = bank.dataset("events") if "events" in bank.release.versions else None
    if events is not None and "leaf" in events.schema.names:
        counts |= {f"{level}s": events.count(f"level = '{level}'") for level in LEVELS}
    else:
        counts["events"] = bank.release.counts.get("events", 0)
    if "clusters" in bank.release.versions:
        counts["clusters"] = bank.dataset("clusters").count()
    if "datastore" in bank.release.versions:
        counts["datastore rows"] = bank.dataset("datastore").count(STORE)
        counts["held-out rows"] = bank.dataset("datastore").count("split <> 'store'")
    return counts | {name: bank.release.counts[name] for name in sorted(bank.release.counts.keys() - CATALOGUE.keys())}
