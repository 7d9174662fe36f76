"""`mnemic init`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import unicodedata
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from mnemic.errors import RecipeError
from mnemic.ids import content_hash
from mnemic.terminal import one_line
from pipelines.recipe import SHIPPED, load_recipe
from pipelines.sources.kinds import find_source
from pipelines.sources.survey import Proposal, Survey, proposals, survey

SUMMARY = "write a commented recipe"
EXAMPLES = """  mnemic init                        writes recipe.yaml for a folder of text
  mnemic init notes.yaml --folder ~/notes     looks which formats are there, and reads them all
  mnemic init chats.yaml --conversations chats.jsonl
  mnemic init env.yaml --from demo   a copy of a recipe that ships with mnemic"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="recipe.yaml", help="where to write (default recipe.yaml)"
    )
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--folder", default="texts", help="folder, whose files are looked at; default: texts")
    begin.add_argument("--conversations", metavar="PATH", help="folder or file of conversations in JSON or JSON Lines")
    parser.add_argument(
        "--from", dest="shipped", help="shipped recipe to copy: folder (default), conversations, demo, demo-full"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the file")


def run(arguments: argparse.Namespace) -> int:
    target = Path(arguments.file)
    if arguments.conversations is not None and arguments.shipped not in (None, "conversations"):
        raise RecipeError(
            f"--conversations begins another recipe than {arguments.shipped!r}; leave out one of the two."
        )
    conversations = arguments.conversations is not None
    shipped = arguments.shipped or ("conversations" if conversations else "folder")
    template = SHIPPED / f"{shipped}.yaml"
    if not template.is_file():
        names = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.yaml")))
        raise RecipeError(f"No recipe {shipped!r} ships with mnemic. Choose one of: {names}.")
    if target.exists() and not arguments.force:
        raise RecipeError(f"{target} exists. Name another file, or overwrite it with --force.")
    text = template.read_text(encoding="utf-8")
    chosen, contents = list[Proposal](), Survey()
    if conversations:
        text = _with(text, target, "path: chats", arguments.conversations)
    elif shipped == "folder":
        text = _with(text, target, "path: texts", arguments.folder)
        place = os.path.expanduser(arguments.folder)
        contents = survey(place) if arguments.folder and os.path.exists(place) else Survey()
        chosen = proposals(contents, _from_recipe(target, arguments.folder))
        if chosen and not _is_plain(chosen):
            text = _with_sources(text, chosen)
    load_recipe(yaml.safe_load(text))  # what is written can be read
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecipeError(
            f"{target} cannot be written ({error.strerror}); name a file in a folder that exists and is yours."
        ) from error
    for line in _told(chosen, contents):
        print(line)
    shown = shlex.quote(f"./{target}" if str(target).startswith("-") else str(target))
    print(f"{target} written. Look at it, then: mnemic plan {shown}; mnemic build {shown}")
    return 0


def _with(text: str, target: Path, place: str, path: str) -> str:
    """A shipped recipe with the name of its file, and ``path``, which is named from here and read from the recipe's."""
    path = _from_recipe(target, path)
    name, path = _quoted(_recipe_name(target.stem)), _quoted(path)
    return re.sub("^name: [a-z]+", lambda _: f"name: {name}", text, flags=re.M).replace(place, f"path: {path}")


def _from_recipe(target: Path, path: str) -> str:
    """A path that is named from here, as the recipe's folder has it."""
    return (
        os.path.relpath(path, target.parent) if path and not path.startswith("~") and target.parent != Path() else path
    )


def _is_plain(chosen: list[Proposal]) -> bool:
    """Whether the shipped recipe reads it all already."""
    suffixes = set(find_source("folder").model_fields["suffixes"].default)  # type: ignore[attr-defined]
    [first, *others] = chosen
    settings = dict(first.settings)
    return (
        not others
        and first.form.kind == "folder"
        and set(settings) == {"kind", "path", "suffixes"}
        and (set(settings["suffixes"]) <= suffixes)
    )


def _with_sources(text: str, chosen: list[Proposal]) -> str:
    """A shipped recipe with these sources in the place of its own."""
    before, rest = text.split("sources:\n", 1)
    after = rest[rest.index("\n\n") + 1 :]
    lines = []
    for one in chosen:
        comment = f"{one.files:,} files" if one.files > 1 else one.form.title
        for place, (name, value) in enumerate(one.settings.items()):
            shown = _quoted(value) if isinstance(value, str) and name != "kind" else _in_one_line(value)
            mark = "  - " if place == 0 else "    "
            lines.append(f"{mark}{name}: {shown}{f'  # {comment}' if place == 0 else ''}")
    return f"{before}sources:\n" + "\n".join(lines) + f"\n{after}"


def _in_one_line(value: Any) -> str:
    """A list of texts, or another plain value, as YAML on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_quoted, value))}]"
    return str(yaml.safe_dump(value, default_flow_style=True, width=float("inf"))).partition("\n")[0]


def _told(chosen: list[Proposal], contents: Survey) -> Iterator[str]:
    """Which formats are read, how many files of each, and what is not read and why."""
    counts: dict[str, tuple[int, str]] = {}
    for one in chosen:
        counts[one.form.kind] = (counts.get(one.form.kind, (0, ""))[0] + one.files, one.form.title)
    for kind, (files, title) in counts.items():
        yield f"  {files:>7,}  {kind:<14} {title}"
    for phrase, (files, example) in contents.unread.items():
        more = " ..." if files > 1 else ""
        yield f"  {files:>7,}  not read       {one_line(phrase, 120)}: {one_line(example, 80)}{more}"
    for library in sorted({library for kind in counts if (library := _missing(kind))}):
        yield f"  {library} is needed for some of them: pip install 'mnemic[sources]'"


def _missing(kind: str) -> str:
    """The optional package that a source needs and that is not installed, "" for none."""
    library = str(getattr(find_source(kind), "library", "")).partition(".")[0]
    return library if library and find_spec(library) is None else ""


def _recipe_name(stem: str) -> str:
    """A file's name in the letters that a recipe's name may have: without accents, "-" for the rest.

    Where no letter or digit remains, a hash stands for the name, for two recipes of one name would share a bank.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", stem) if not unicodedata.combining(c))
    name = re.sub(r"[^A-Za-z0-9._-]", "-", plain)
    return name if re.match("[A-Za-z0-9]", name) else f"recipe-{content_hash(stem)[:8]}"


def _quoted(value: str) -> str:
    """A YAML string on one line, whatever characters it has; JSON's escapes beyond U+FFFF mean others in YAML."""
    return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf")).strip()
