"""Facts of rows, checked: they become statements, and what cannot is a reject.

A row has a subject, a relation and a target, and may have paraphrases (other sentences), neighbours (subjects of which
nothing is to change), `set` (a name) and `documents` (ids of those that say it). A relation and a paraphrase are
sentences with {} in the place of the subject.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from typing import Any

from mnemic.errors import RecipeError
from mnemic.rewrites.statement import PLACE, Statement
from mnemic.terminal import one_line, plain
from operators.rewrites.operator import Rewrites

LONGEST = {"subject": 200, "relation": 500, "target": 200, "set": 100}
"""Characters of each field."""

MOST_PARAPHRASES, MOST_NEIGHBOURS = 16, 256

MOST_ROWS = 100_000
"""Rows that are looked at: all are there at once, to see which say the same."""


def statements_of(
    rows: Iterable[tuple[str, Any]],
    settings: Rewrites,
    removed: Set[str] = frozenset(),
    tenants: Mapping[str, str] | None = None,
) -> tuple[list[Statement], list[dict[str, str]]]:
    """(statements in the order of their ids, rejects) of (origin, row).

    A fact that only documents say which were ``removed`` is a reject: a file may still have it.

    Rows that say one fact are one statement. Where two give one prompt different targets, neither is taken, so the
    order of rows decides nothing. Raises `RecipeError` for more than `MOST_ROWS`.

    ``tenants`` of documents, by id, are there in a bank of several. A fact that documents of two tenants say is then
    one for each, and rows of one tenant alone are compared and counted together.
    """
    facts: dict[str, Statement] = {}
    rejects = list[dict[str, str]]()
    for number, (origin, row) in enumerate(rows):
        if number == MOST_ROWS:
            raise RecipeError(f"The facts are more than {MOST_ROWS:,} rows; narrow them by `where` of `rewrites`.")
        statement = _statement(origin, row, settings)
        if isinstance(statement, Statement) and not removed.isdisjoint(statement.documents):
            left = tuple(one for one in statement.documents if one not in removed)
            statement = replace(statement, documents=left) if left else "its documents were removed from the bank"
        if isinstance(statement, str):
            named = row.get("documents") if isinstance(row, Mapping) else None
            rejects.append(_reject(origin, statement, named))
            continue
        for one in _by_tenant(statement, tenants):
            facts[one.id] = _together(facts[one.id], one) if one.id in facts else one
    targets: dict[tuple[str | None, str], set[str]] = {}
    for one in facts.values():
        targets.setdefault((one.tenant, one.prompt), set()).add(one.target)
    clear: dict[str | None, list[Statement]] = {}
    for one in sorted(facts.values(), key=lambda statement: (statement.fact, statement.id)):
        if len(targets[one.tenant, one.prompt]) == 1:
            clear.setdefault(one.tenant, []).append(one)
        else:
            reason = f"other rows give {one.prompt[:60]!r} another target than {one.target[:40]!r}; leave one of them"
            rejects.append(_reject(one.origin, reason, one.documents))
    for one in (statement for some in clear.values() for statement in some[settings.most :]):
        reason = f"there are more than {settings.most:,} facts; raise `most` of `rewrites`"
        rejects.append(_reject(one.origin, reason, one.documents))
    first = (statement for some in clear.values() for statement in some[: settings.most])
    return sorted(first, key=lambda statement: statement.id), rejects


def named_documents(rows: Iterable[tuple[str, Any]]) -> set[str]:
    """Ids of documents that rows name, as far as they are texts."""
    lists = (row.get("documents") for _, row in rows if isinstance(row, Mapping))
    both = ([one] if isinstance(one, str) else one for one in lists)
    texts = (one for some in both if isinstance(some, list | tuple) for one in some if isinstance(one, str))
    return {" ".join(one.split()) for one in texts}


def _by_tenant(one: Statement, tenants: Mapping[str, str] | None) -> list[Statement]:
    """``one`` for each tenant whose documents say it, with these alone; nobody's where no document of the bank does."""
    if tenants is None:
        return [one]
    documents: dict[str, list[str]] = {}
    for document in one.documents:
        if document in tenants:
            documents.setdefault(tenants[document], []).append(document)
    return [replace(one, tenant=tenant, documents=tuple(own)) for tenant, own in documents.items()] or [one]


def _together(one: Statement, other: Statement) -> Statement:
    """Two rows of one fact: what either says of it."""
    first, second = sorted((one, other), key=lambda statement: statement.origin)
    return replace(
        first,
        paraphrases=tuple(sorted({*first.paraphrases, *second.paraphrases})),
        neighbours=tuple(sorted({*first.neighbours, *second.neighbours})),
        sets=tuple(sorted({*first.sets, *second.sets})),
        documents=tuple(sorted({*first.documents, *second.documents})),
    )


def _statement(origin: str, row: Any, settings: Rewrites) -> Statement | str:
    """The fact of a row, or why it is none."""
    if not isinstance(row, Mapping):
        return f"it is no JSON object: {one_line(str(row), 60)!r}"
    texts: dict[str, str] = {}
    for name in ("subject", "relation", "target"):
        value = row.get(getattr(settings, name))
        if not isinstance(value, str) or not value.strip():
            return f"it has no text as {getattr(settings, name)!r}"
        texts[name] = " ".join(value.split())
    group = row.get("set") or origin.rpartition(":")[0]
    if not isinstance(group, str | int | float):
        return "its set is no name"
    texts["set"] = " ".join(str(group).split())
    for name, most in LONGEST.items():
        if len(texts[name]) > most:
            return f"its {name} has {len(texts[name]):,} characters and at most {most} are read"
    if texts["subject"].count(PLACE) or texts["relation"].count(PLACE) > 1:
        return f"its subject has {PLACE}, or its relation has it more than once; it stands for the subject, once"
    lists: dict[str, tuple[str, ...]] = {}
    for name, limit in (("paraphrases", MOST_PARAPHRASES), ("neighbours", MOST_NEIGHBOURS), ("documents", 1000)):
        value = row.get(getattr(settings, name, name))
        value = [] if value is None else [value] if isinstance(value, str) else value
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one.strip() for one in value):
            return f"its {name} are no list of texts"
        if len(value) > limit or any(len(one) > LONGEST["relation"] for one in value):
            return f"its {name} are more than {limit}, or longer than {LONGEST['relation']} characters"
        lists[name] = tuple(sorted({" ".join(one.split()) for one in value}))
    relation, more = texts["relation"], list[str]()
    if PLACE not in relation:
        relation, *more = (
            one.replace("{subject}", PLACE).replace("{relation}", texts["relation"]) for one in settings.templates
        )
    if any(_is_broken(one) for one in (*texts.values(), *(one for some in lists.values() for one in some))):
        return "it has half a character (a lone surrogate), which no text has"
    strange = [one for one in lists["paraphrases"] if one.count(PLACE) != 1]
    if strange:
        return f"its paraphrase {strange[0][:60]!r} has not one {PLACE} in the place of the subject"
    return Statement(
        texts["subject"],
        relation,
        texts["target"],
        tuple(sorted({*lists["paraphrases"], *more})),
        lists["neighbours"],
        (texts["set"],),
        lists["documents"],
        origin if settings.dataset else origin.rpartition(":")[0],
    )


def _is_broken(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _reject(origin: str, reason: str, documents: Any) -> dict[str, str]:
    """Its input is the document that says the fact, with which it goes, else the place."""
    named = documents[0] if isinstance(documents, list | tuple) and documents else origin
    named, place = one_line(str(named), LONGEST["relation"]), plain(origin)
    return {"input": named or place, "locator": place, "reason": f"A fact is left out: {reason}.", "severity": "reject"}
