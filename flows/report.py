"""The artifacts that a build leaves behind: what each step did, and the release with its funnel and its lineage.

Their keys hold the recipe's name, so that Prefect shows the releases of one bank in a row. Prefect renders Markdown, in
tables too. No text of a corpus is shown here; names and paths come from the person who wrote the recipe, and are
escaped all the same. `flows.bank_pages` has the tables of what is in the bank.
"""

from __future__ import annotations

from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.bank_pages import show_bank
from flows.markdown import escaped, key, quoted
from mnemic.bank import open_bank
from mnemic.dataset import Store
from mnemic.funnel import funnel
from mnemic.release import Release
from pipelines.live import rate
from pipelines.run import BuildResult


def show(result: BuildResult, recipe: str, steps: Sequence[str], store: Store) -> None:
    """Write the table of ``steps``, and the page of the release if the bank has one."""
    bank = escaped(store.root)
    ran = f"{len(result.steps)} of {len(steps)} steps ran in {result.seconds:.1f} s"
    create_table_artifact(_table(result, steps), key("steps", recipe), f"{ran}: {bank}")
    if result.release is not None:
        page = _page(result.release, steps, store)
        create_markdown_artifact(page, key("release", recipe), f"{escaped(result.release.name)} of {bank}")
        if result.steps:
            show_bank(open_bank(store.root, result.release.name, store.storage_options), recipe)


def _table(result: BuildResult, steps: Sequence[str]) -> list[dict[str, str]]:
    done = {step.step: step for step in result.steps}
    rows = []
    for name in steps:
        row = {"step": name, "rows": "nothing to do", "rejects": "", "seconds": "", "pace": ""}
        if name in done:
            step = done[name]
            row |= {"rows": f"{step.rows:,}" if step.rows else "", "rejects": f"{step.rejects:,}"}
            row |= {"seconds": f"{step.seconds:.1f}", "pace": rate(step.rows, step.seconds)}
        rows.append(row)
    return rows


def _page(release: Release, steps: Sequence[str], store: Store) -> str:
    bank = open_bank(store.root, release.name, store.storage_options)
    counts = [f"| {escaped(stage)} | {count:,} |" for stage, count in funnel(bank).items()]
    lineage = []
    for name in sorted(release.lineage, key=lambda name: (name not in steps, [*steps, name].index(name))):
        record = release.lineage[name]
        reads = escaped(", ".join(record["reads"]))
        lineage.append(f"| {escaped(name)} | {record['version']} | `{record['fingerprint'][:12]}` | {reads} |")
    return "\n".join(
        [
            f"# Release {escaped(release.name)}",
            "",
            f"of {escaped(store.root)}, written {release.created:%Y-%m-%d %H:%M} UTC by run {escaped(release.run)}",
            "",
            "```python",
            "import mnemic",
            "",
            f"bank = mnemic.open_bank({quoted(store.root)}, release={quoted(release.name)})",
            "```",
            "",
            "## Funnel",
            "",
            "| stage | rows |",
            "| --- | ---: |",
            *counts,
            "",
            "## Lineage",
            "",
            "| step | operator version | fingerprint | reads |",
            "| --- | --- | --- | --- |",
            *lineage,
        ]
    )
