"""`mnemic why`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from mnemic.bank import Bank, open_bank
from mnemic.conditions.values import text
from mnemic.decisions import chosen, explained
from mnemic.descendants import descendants
from mnemic.find import locate
from mnemic.inbox.fate import fate
from mnemic.quoting import one_of
from mnemic.removals import OF_ROWS, rows_of
from mnemic.terminal import one_line, plain, say
from mnemic.view import fitting

SUMMARY = "why a document was kept, dropped or left out, and who learnt it; why an event begins and ends where it does"
EXAMPLES = """  mnemic why memory/notes 3fa94c01          why this document was kept or dropped
  mnemic why memory/notes plans.md          the same, by its file or locator
  mnemic why memory/notes 9b02d7e4 --json   why this event begins and ends where it does"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("id", metavar="ID", help="id of a document or an event, or a file or locator; a part is enough")
    parser.add_argument("--release", help="a release other than the newest")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    bank = open_bank(arguments.bank, arguments.release)
    gone = _removed(bank, arguments.id) or fate(bank, arguments.id)
    if gone:
        say(json.dumps(gone, default=str) if arguments.json else gone["story"])
        return 0
    with fitting(bank.view, "The ids and locators"):
        kind, row = locate(bank.view, arguments.id)
    facts = explanation(bank, kind, row)
    say(json.dumps(facts, default=str) if arguments.json else facts["story"])
    return 0


def explanation(bank: Bank, kind: str, row: dict[str, Any]) -> dict[str, Any]:
    """The reasons of a row that `mnemic.find.locate` gives, as facts, with their ``story`` for a person."""
    explain = {"document": _document, "event": _event, "reject": _left_out}[kind]
    with fitting(bank.view, f"The {kind} and its rows"):
        return explain(bank, row)


def _left_out(bank: Bank, row: dict[str, Any]) -> dict[str, Any]:
    """Of a file or row that no document was made of: by which step it was left out, and why."""
    words = {"reject": "left out", "empty": "nothing to take", "note": "remark"}
    lines = [f"no document: {one_line(row['locator'], 400)}"]
    lines += [
        f"  {words.get(one['severity'], one_line(one['severity'], 40))} by the step {one_line(one['step'], 60)}: "
        f"{one_line(one['reason'], 400)}"
        for one in row["rejects"]
    ]
    return {**row, "story": "\n".join(lines)}


def _document(bank: Bank, row: dict[str, Any]) -> dict[str, Any]:
    identity = text(row["id"])
    pairs = bank.view.table("pairs", where=f"document = {identity} OR other = {identity}").to_pylist()
    pairs.sort(key=lambda pair: -pair["similarity"])
    names = _locators(bank, {pair[side] for pair in pairs for side in ("document", "other")} | {row["duplicate_of"]})
    lines = [
        f"document {row['id']}",
        f"  {plain(row['source'])}  {plain(row['locator'])}  {row['length']:,} characters",
    ]
    judged = explained(bank.view, row)
    lines += judged.pop("story", [])
    if row["duplicate_of"]:
        lines.append(f"  dropped: a better-ranked document that is kept says the same: {names[row['duplicate_of']]}")
    else:
        lines.append("  no duplicate: no better-ranked document that is kept reaches the threshold")
    if not row["duplicate_of"] and not judged.get("decision", {}).get("rule"):
        lines += ["  kept", *chosen(row)]
    for pair in pairs[:20]:
        other = pair["other"] if pair["document"] == row["id"] else pair["document"]
        rank = "better" if pair["other"] == other else "worse"
        lines.append(
            f"  {pair['verdict']:<9} similarity {pair['similarity']:.3f} "
            f"({pair['rule']}, {pair['bands']} bands shared) "
            f"to the {rank}-ranked {names[other]}"
        )
    rows, trained = descendants(bank.view, "document", row), bank.trained_on(row["id"])
    lines += [*rows.story(), *_of_memories(trained)]
    facts = {key: value for key, value in row.items() if key != "text"}
    more = {**rows.facts(), "memories": trained}
    return {"document": facts, **judged, "pairs": pairs, **more, "story": "\n".join(lines)}


def _of_memories(trained: dict[str, str]) -> list[str]:
    """How each memory knows a document; rows of it that are no trained network have lines of their own."""
    return [
        f"  memory {name}: {'has none of it' if name in OF_ROWS else _TRAINED[answer]}"
        for name, answer in trained.items()
        if name not in OF_ROWS or not answer
    ]


_TRAINED = {
    "": "was not trained on it",
    "store": "was trained on it",
    "validation": "was not trained on it; it was held out, and chose its epoch and its weight",
    "removed": "was trained on it, and was not trained again since it was removed",
}


def _removed(bank: Bank, beginning: str) -> dict[str, Any]:
    """What is there to say of a document that was removed; nothing of one that is there."""
    rows = rows_of(bank.view).drop_columns(["mark", "item"]).to_pylist()
    mine = [row for row in rows if beginning and row["document"].startswith(beginning)]
    if len(mine) != 1 or bank.dataset("documents").count(f"id = {text(mine[0]['document'])}"):
        return {}
    row, trained = mine[0], bank.trained_on(mine[0]["document"])
    lines = [
        f"document {row['document']}",
        f"  {'erased' if row['erased'] else 'removed'} at {row['time']:%Y-%m-%d %H:%M} UTC by the removal "
        f"{row['removal']}",
        "  the next build reads it again" if row["readmitted"] else "  it is not read again",
        *_of_memories(trained),
    ]
    return {"removed": row, "memories": trained, "story": "\n".join(lines)}


def _locators(bank: Bank, ids: set[str]) -> dict[str, str]:
    documents = sorted(ids - {""})
    if not documents:
        return {}
    rows = bank.view.table("documents", ["id", "locator"], one_of("id", documents)).to_pylist()
    return {row["id"]: f"{plain(row['locator'])} ({row['id'][:12]})" for row in rows}


def _event(bank: Bank, row: dict[str, Any]) -> dict[str, Any]:
    columns = [name for name in _SHOWN if name in bank.dataset("events").schema.names]
    around = bank.view.table("events", columns, f"document = {text(row['document'])}").to_pylist()
    level = row["level"]
    same = sorted((event for event in around if event["level"] == level), key=lambda event: event["ordinal"])
    place = next(place for place, event in enumerate(same) if event["id"] == row["id"])
    before, after = same[:place], same[place + 1 :]
    near = [*before[-1:], row, *after[:1]]
    document = _locators(bank, {row["document"]})[row["document"]]
    lines = [
        f"{level} {row['id']}  number {place + 1} of {len(same)} in {document}",
        f"  units {row['first_unit']} to {row['end_unit'] - 1}, characters {row['start']:,} to {row['end']:,}, "
        f"{row['words']} words, cluster {row.get('cluster') or '-'}",
    ]
    if row["speakers"]:
        lines.append(f"  said by {plain(', '.join(row['speakers']))}" + _times(row))
    if row["surprise"] is not None:
        lines.append(f"  mean surprise {row['surprise']:.2f} nats a token")
    settings = _segmenter(bank)
    end = _boundary(after[0], settings) if after else "the document ends"
    lines += [f"  begins here: {_boundary(row, settings)}", f"  ends here: {end}"]
    lines += [f"  inside {event['level']} {event['id'][:12]}" for event in around if event["id"] == row["parent"]]
    inside = sum(event.get("parent") == row["id"] for event in around)
    if inside:
        lines.append(f"  holds {inside} rows of the level below")
    for event in near:
        mark = ">" if event["id"] == row["id"] else " "
        lines.append(f"  {mark} {event['id'][:12]}  {one_line(event['text'], 96)}")
    rows = descendants(bank.view, "event", row)
    lines += rows.story()
    return {"event": row, "neighbours": near, "segmenter": settings, **rows.facts(), "story": "\n".join(lines)}


_SHOWN = ("id", "level", "ordinal", "first_unit", "cause", "score", "threshold", "parent", "text", "words")


def _segmenter(bank: Bank) -> dict[str, Any]:
    """The fields of the segmenter that made the events, as the release has them."""
    fields: dict[str, Any] = bank.release.lineage.get("segment", {}).get("fields", {})
    return fields


def _times(row: dict[str, Any]) -> str:
    if row["start_time"] is None:
        return ""
    return f", {row['start_time']:%Y-%m-%d %H:%M} to {row['end_time']:%Y-%m-%d %H:%M}"


def _boundary(row: dict[str, Any], settings: dict[str, Any]) -> str:
    """Why an event begins where it does."""
    cause, score, threshold = row.get("cause"), row["score"], row["threshold"]
    measured = "" if score is None else f" ({_meaning(settings.get('method', 'texttiling'), score, threshold)})"
    if cause is None:  # banks of before causes were kept
        cause = "start" if score is None else "topic" if threshold is not None and score > threshold else "length"
    return {
        "start": "the document begins",
        "pause": f"nobody spoke for more than {settings.get('max_pause')} seconds",
        "speaker": "another speaker begins",
        "topic": f"the topic turns{measured}",
        "block": "a block of fixed length begins",
        "turn": "somebody begins to speak",
        "length": f"a length limit cut here{measured}",
    }[str(cause)]


def _meaning(method: str, score: float, threshold: float | None) -> str:
    """The meaning of a gap's score, in words."""
    name = {
        "posterior": "probability of a boundary",
        "divisive": "squared error saved",
        "texttiling": "depth",
        "cosine": "cosine distance",
    }.get(method, method.replace("_", " "))
    bound = "" if threshold is None else f", {'above' if score > threshold else 'not above'} {threshold:.3f}"
    return f"{name} {score:.3f}{bound}"
