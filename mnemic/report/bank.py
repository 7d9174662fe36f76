"""The report of one release: its parts in their order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import mnemic
from mnemic.bank import Bank
from mnemic.report.corpus import drops_part, duplicates_part, funnel_part, histograms_part, rejects_part
from mnemic.report.evaluation import check_release
from mnemic.report.generations import generations_part
from mnemic.report.life import against_part, costs_part, lineage_part, releases_part
from mnemic.report.memory import clusters_part, events_part, memories_part, recall_part
from mnemic.report.page import page
from mnemic.report.topics import topics_part
from mnemic.view import fitting


def report(bank: Bank, against: Bank | None = None, evaluation: Mapping[str, Any] | None = None) -> str:
    """The page of the release that ``bank`` is, as HTML; with ``against`` also what differs from that release.

    ``evaluation`` is the object of `mnemic eval --json`, whose gains by topic and generations are drawn. Equal banks
    give equal pages. Raises `BankError` where a part of the bank cannot be read, and `QueryError` for an evaluation of
    another release or form.
    """
    release = bank.release
    if evaluation is not None:
        check_release(evaluation, release)
    name = str(release.recipe.get("name") or os.path.basename(bank.path.rstrip("/")))
    facts = [
        ("bank", bank.path),
        ("release", f"{release.name} of {release.created:%Y-%m-%d %H:%M} UTC"),
        ("encoder", str(dict(release.recipe.get("embed") or {}).get("model", "-"))),
        ("language model", str(release.recipe.get("language_model") or "none")),
        ("made by", f"mnemic {mnemic.__version__}"),
    ]
    with fitting(bank.view, "The datasets and records"):
        parts = [
            funnel_part(bank),
            against_part(bank, against),
            drops_part(bank),
            histograms_part(bank),
            duplicates_part(bank),
            events_part(bank),
            clusters_part(bank),
            recall_part(bank),
            memories_part(bank),
            topics_part(evaluation or {}),
            generations_part(evaluation or {}),
            costs_part(bank),
            lineage_part(bank),
            releases_part(bank),
            rejects_part(bank),
        ]
    return page(f"{name}: what is in this bank", facts, parts)
