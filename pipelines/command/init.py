"""`mnemic init`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import unicodedata
from pathlib import Path

import yaml

from mnemic.errors import RecipeError
from mnemic.ids import content_hash
from pipelines.recipe import SHIPPED, load_recipe

SUMMARY = "write a commented recipe"
EXAMPLES = """  mnemic init                        writes recipe.yaml for a folder of text
  mnemic init notes.yaml --folder ~/notes
  mnemic init chats.yaml --conversations chats.jsonl
  mnemic init env.yaml --from demo   a copy of a recipe that ships with mnemic"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="recipe.yaml", help="where to write (default recipe.yaml)"
    )
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--folder", default="texts", help="folder of .txt, .md, .rst and .jsonl files")
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
        known = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.yaml")))
        raise RecipeError(f"No recipe {shipped!r} ships with mnemic. Choose one of: {known}.")
    if target.exists() and not arguments.force:
        raise RecipeError(f"{target} exists. Name another file, or overwrite it with --force.")
    text = template.read_text(encoding="utf-8")
    if conversations:
        text = _with(text, target, "path: chats", arguments.conversations)
    elif shipped == "folder":
        text = _with(text, target, "path: texts", arguments.folder)
    load_recipe(yaml.safe_load(text))  # what is written can be read
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecipeError(
            f"{target} cannot be written ({error.strerror}); name a file in a folder that exists and is yours."
        ) from error
    shown = shlex.quote(f"./{target}" if str(target).startswith("-") else str(target))
    print(f"{target} written. Look at it, then: mnemic plan {shown}; mnemic build {shown}")
    return 0


def _with(text: str, target: Path, place: str, path: str) -> str:
    """A shipped recipe with the name of its file, and ``path``, which is named from here and read from the recipe's."""
    if path and not path.startswith("~") and target.parent != Path():
        path = os.path.relpath(path, target.parent)
    name, path = _quoted(_recipe_name(target.stem)), _quoted(path)
    return re.sub("^name: [a-z]+", lambda _: f"name: {name}", text, flags=re.M).replace(place, f"path: {path}")


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
