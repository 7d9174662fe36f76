"""Ten million tokens of real text as a bank with an index: documentation, and sources of Python and its packages.

The documentation of a seeded sample of the installed packages comes first, then files of the standard library and of
site-packages in a seeded order, of up to 200,000 characters each, until there are enough tokens. What comes next is not
in the bank: it asks the index. The bank is built by `mnemic.build`, with what an index needs and nothing more.
"""

from __future__ import annotations

import json
import random
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import mnemic
from bench.places import CACHE
from bench.report import tell
from bench.teacher.keys import MODEL
from mnemic.bank import Bank
from pipelines.sources.contracts import Document
from pipelines.sources.python_environment import PythonEnvironment

FOLDER = CACHE / "suffix"
CHARACTERS_A_TOKEN = 3.9
"""About; sources have fewer than prose."""

HELD = 200_000
"""Characters beside the bank."""

_FILE = 200  # documents
_LONGEST, _SHORTEST = 200_000, 200


@dataclass(frozen=True)
class Corpus:
    """The bank, its ``recipe``, and texts that it does not have: ``questions``, and ``prompts`` of documentation."""

    recipe: dict[str, Any]
    bank: Bank
    questions: list[str]
    prompts: list[str]


def corpus(quick: bool) -> Corpus:
    """The bank of a tenth of it where it must be ``quick``; built once."""
    name = "text-quick" if quick else "text"
    characters = int(CHARACTERS_A_TOKEN * (1_000_000 if quick else 10_600_000))
    folder = FOLDER / name
    if not (folder / "asked.json").exists():
        _write(folder, characters)
    recipe = {
        "name": name,
        "bank": str(FOLDER / f"{name}-bank"),
        "sources": [{"kind": "folder", "path": str(folder / "documents")}],
        "language_model": MODEL,
        "suffixes": {},
        "units": False,
        "split": False,
        "datastore": False,
    }
    result = mnemic.build(recipe, engine="inline", device="cpu")
    tell(f"{name}: " + ", ".join(f"{step.step} {step.seconds:.1f} s" for step in result.steps))
    beside = json.loads((folder / "asked.json").read_text(encoding="utf-8"))
    return Corpus(recipe, mnemic.open_bank(result.bank), beside["asked"], beside["prompts"])


def _write(folder: Path, characters: int) -> None:
    (folder / "documents").mkdir(parents=True, exist_ok=True)
    documentation = list(_documentation(characters // 8))
    draw = random.Random(0)
    prompts = [documentation.pop(draw.randrange(len(documentation))) for _ in range(16)]
    draw.shuffle(documentation)
    texts, size, questions = list[str](), 0, list[str]()
    for text in chain(documentation, _sources(draw)):
        if size < characters:
            texts.append(text)
            size += len(text)
        elif sum(map(len, questions)) < HELD:
            questions.append(text)
        else:
            break
    for start in range(0, len(texts), _FILE):
        lines = [json.dumps({"text": text}) for text in texts[start : start + _FILE]]
        (folder / "documents" / f"{start:06}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    beside = {"asked": questions, "prompts": prompts}
    (folder / "asked.json").write_text(json.dumps(beside), encoding="utf-8")


def _documentation(characters: int) -> Iterator[str]:
    source = PythonEnvironment(sample_characters=characters)
    for item in source.manifest():
        for document in source.read(item, _LONGEST):
            if isinstance(document, Document) and len(document.text) >= _SHORTEST:
                yield document.text


def _sources(draw: random.Random) -> Iterator[str]:
    """Python files of the standard library and of the installed packages."""
    paths = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")}
    files = sorted({file for path in paths for file in path.rglob("*.py")})
    draw.shuffle(files)
    for file in files:
        text = file.read_text(encoding="utf-8", errors="ignore")
        if _SHORTEST <= len(text) <= _LONGEST:
            yield text
