"""`mnemic why`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from mnemic.bank import Bank, open_bank
from mnemic.terminal import one_line, plain

EXAMPLES = """  mnemic why memory/notes 3fa94c01          why this document was kept or dropped
  mnemic why memory/notes 9b02d7e4 --json   why this event begins and ends where it does"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("id", metavar="ID", help="id of a document or an event; its beginning is enough")
    parser.add_argument("--release", help="a release other than the newest")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    bank = open_bank(arguments.bank, arguments.release)
    kind, row = bank.find(arguments.id)
    facts = _document(bank, row) if kind == "document" else _event(bank, row)
    print(json.dumps(facts, default=str) if arguments.json else facts["story"])
    return 0


def _document(bank: Bank, row: dict[str, Any]) -> dict[str, Any]:
    pairs = bank.table("pairs", where=f"document = '{row['id']}' OR other = '{row['id']}'").to_pylist()
    pairs.sort(key=lambda pair: -pair["similarity"])
    names = _locators(bank, {pair[side] for pair in pairs for side in ("document", "other")} | {row["duplicate_of"]})
    lines = [
        f"document {row['id']}",
        f"  {plain(row['source'])}  {plain(row['locator'])}  {row['length']:,} characters",
    ]
    if row["duplicate_of"]:
        lines.append(f"  dropped: a better-ranked document that is kept says the same: {names[row['duplicate_of']]}")
    else:
        lines.append("  kept: no better-ranked document that is kept reaches the threshold")
    for pair in pairs[:20]:
        other = pair["other"] if pair["document"] == row["id"] else pair["document"]
        rank = "better" if pair["other"] == other else "worse"
        lines.append(
            f"  {pair['verdict']:<9} similarity {pair['similarity']:.3f} "
            f"({pair['rule']}, {pair['bands']} bands shared) "
            f"to the {rank}-ranked {names[other]}"
        )
    facts = {key: value for key, value in row.items() if key != "text"}
    return {"document": facts, "pairs": pairs, "story": "\n".join(lines)}


def _locators(bank: Bank, ids: set[str]) -> dict[str, str]:
    wanted = sorted(ids - {""})
    if not wanted:
        return {}
    quoted = ",".join(f"'{value}'" for value in wanted)
    rows = bank.table("documents", ["id", "locator"], f"id IN ({quoted})").to_pylist()
    return {row["id"]: f"{plain(row['locator'])} ({row['id'][:12]})" for row in rows}


def _event(bank: Bank, row: dict[str, Any]) -> dict[str, Any]:
    around = bank.table(
        "events", ["id", "ordinal", "score", "threshold", "text", "words"], f"document = '{row['document']}'"
    ).to_pylist()
    near = sorted((e for e in around if abs(e["ordinal"] - row["ordinal"]) <= 1), key=lambda e: e["ordinal"])
    after = next((e for e in near if e["ordinal"] == row["ordinal"] + 1), None)
    document = _locators(bank, {row["document"]})[row["document"]]
    lines = [
        f"event {row['id']}  number {row['ordinal'] + 1} of {len(around)} in {document}",
        f"  units {row['first_unit']} to {row['end_unit'] - 1}, characters {row['start']:,} to {row['end']:,}, "
        f"{row['words']} words, cluster {row.get('cluster') or '-'}",
        f"  begins here: {_boundary(row['score'], row['threshold'], 'the document begins')}",
        f"  ends here: {_boundary(after['score'], after['threshold'], '') if after else 'the document ends'}",
    ]
    for event in near:
        mark = ">" if event["id"] == row["id"] else " "
        lines.append(f"  {mark} {event['id'][:12]}  {one_line(event['text'], 96)}")
    return {"event": row, "neighbours": near, "story": "\n".join(lines)}


def _boundary(score: float | None, threshold: float | None, otherwise: str) -> str:
    if score is None:
        return otherwise or "a length limit or a fixed rule cut here"
    if threshold is None:
        return f"score {score:.3f}"
    if score > threshold:
        return f"the topic turns: depth {score:.3f} exceeds {threshold:.3f}, mean plus deviations over this document"
    return f"a length limit cut at the deepest gap: depth {score:.3f}, below the {threshold:.3f} of a turn of topic"
