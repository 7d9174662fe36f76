"""Presets of `written`: what published systems do, as settings of the sections of written memory.

A preset is a fragment of a recipe: settings of `packs`, `notes`, `relations` and `excerpts`; a recipe's own settings
win. Sizes of packs follow the unit that a system asks about: a message, an episode, a window of turns, a passage, a
session. What a system does beside is left out, and said in ``lacks``; nothing of it is imitated by halves.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from operators.sections import Complete

_NO_SLOTS: tuple[str, ...] = ()


@dataclass(frozen=True)
class WrittenPreset:
    """``sections`` are settings by section; ``lacks`` is what the system does and these settings do not, a phrase.

    With ``relations`` a model is asked for these too.
    """

    title: str
    lacks: str
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    relations: bool = False


PRESETS: Mapping[str, WrittenPreset] = {
    "mem0": WrittenPreset(
        "facts of a few messages, the ten before them as context",
        "memories in the prompt, entities in the ranking, an online loop",
        {"packs": {"tokens": 200, "context": 10}, "notes": {"functional": _NO_SLOTS}},
    ),
    "graphiti": WrittenPreset(
        "facts of an episode, the four turns before it as context, closed by later ones",
        "entities that a model merges, edges, communities, verdicts of a model on pairs, typed ontologies",
        {"packs": {"tokens": 400, "context": 4}},
    ),
    "a-mem": WrittenPreset(
        "a note of each turn",
        "keywords and tags, links between notes, neighbours that are written anew",
        {"packs": {"tokens": 64, "context": 0, "rest": 0.0}, "notes": {"functional": _NO_SLOTS}},
    ),
    "lightmem": WrittenPreset(
        "facts of segments of 1,500 tokens",
        "compressed texts, offline updates of near notes",
        {"packs": {"tokens": 1500, "context": 0}, "notes": {"functional": _NO_SLOTS}},
    ),
    "simplemem": WrittenPreset(
        "facts of windows of about 40 turns, two turns of overlap",
        "planning of queries, reflection, places and topics as fields",
        {"packs": {"tokens": 2400, "context": 2}, "notes": {"functional": _NO_SLOTS}},
    ),
    "hipporag2": WrittenPreset(
        "facts and relations of a passage, relations as edges of the graph",
        "seeds of facts by vectors, the filter call of a query",
        {"packs": {"tokens": 400, "context": 0}, "notes": {"functional": _NO_SLOTS}, "relations": {}},
        relations=True,
    ),
    "memgas": WrittenPreset(
        "facts and an excerpt of a session as a whole",
        "summaries by a model, links by a mixture of Gaussians, the entropy router",
        {"packs": {"tokens": 8000, "context": 0}, "excerpts": {"levels": ("session",)}},
    ),
    "theanine": WrittenPreset(
        "facts that never close one another, as a history by subject",
        "causes as relations, refinement when an answer is made",
        {"packs": {"tokens": 1500, "context": 3}, "notes": {"functional": _NO_SLOTS}},
    ),
    "keep-me-updated": WrittenPreset(
        "attributes of people that later ones replace",
        "verdicts of a model on pairs (pass, append)",
        {"packs": {"tokens": 1500, "context": 3}},
    ),
    "meminsight": WrittenPreset(
        "attributes, which a search may filter by through the table of notes",
        "attributes as columns of events",
        {"packs": {"tokens": 1500, "context": 0}, "notes": {"functional": _NO_SLOTS}},
    ),
}

NOT_EXPRESSED: Mapping[str, str] = {
    "graphrag": "communities and their summaries",
    "raptor": "leaves of 100 tokens in several clusters at once; its tree of summaries is `node_summaries`",
    "lightrag": "a graph of entities and relations, and its two levels of keywords",
    "gsw": "roles, states, places and the questions that they answer",
    "memorag": "a key-value memory of the whole text",
    "mem-alpha": "a trained policy of writing",
    "memoryos": "heat, and moving notes between tiers by it",
    "mirix": "six kinds of memory, and screenshots",
    "evermemos": "boundaries, foresight and profiles by a model",
    "comedy": "a running summary of three parts",
    "retllm": "three vectors of each triple",
}
"""Systems that have no preset, and what of them cannot be said in a recipe."""


def preset_fault(name: str) -> str:
    """Why there is no preset ``name``, as a sentence with the way out; "" for one that is there, and for none."""
    if not name or name in PRESETS:
        return ""
    if name in NOT_EXPRESSED:
        return f"`written` has no preset {name}: a recipe cannot express {NOT_EXPRESSED[name]}. Leave `preset` out."
    near = difflib.get_close_matches(str(name), PRESETS, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PRESETS)}."
    return f"`written` has no preset {str(name)[:40]!r}; {hint}"


def wants_relations(name: str) -> bool:
    """Whether the preset ``name`` asks a model for relations."""
    return name in PRESETS and PRESETS[name].relations


def as_preset(section: str, on: bool) -> Complete:
    """Completes ``section`` by the preset of `written`; with ``on`` it runs wherever `written` does."""

    def complete(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
        written = sections.get("written")
        if written is None:
            return settings
        preset = PRESETS.get(written.preset)
        own = None if preset is None else preset.sections.get(section)
        if own is None:
            return {} if settings is None and on else settings
        return {**own, **(settings or {})}

    return complete


def expansion(name: str) -> Iterator[str]:
    """What a preset comes to, as lines of a recipe, and what it leaves out."""
    preset = PRESETS[name]
    yield f"preset {name}: {preset.title}"
    for section, settings in preset.sections.items():
        values = ", ".join(f"{key}: {_plain(value)}" for key, value in settings.items())
        yield f"  {section}: {{{values}}}"
    if preset.relations:
        yield "  written: {relations: true}"
    yield f"  left out: {preset.lacks}"


def _plain(value: Any) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value)
