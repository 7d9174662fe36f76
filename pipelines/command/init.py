"""`mnemic init`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mnemic.errors import RecipeError
from pipelines.recipe import SHIPPED

EXAMPLES = """  mnemic init                        writes recipe.yaml for a folder of text
  mnemic init notes.yaml --folder ~/notes
  mnemic init env.yaml --from demo   a copy of a recipe that ships with mnemic"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="recipe.yaml", help="where to write (default recipe.yaml)"
    )
    parser.add_argument("--folder", default="texts", help="folder of .txt, .md, .rst and .jsonl files")
    parser.add_argument(
        "--from", dest="shipped", default="folder", help="shipped recipe to copy: folder, demo, demo-full"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the file")


def run(arguments: argparse.Namespace) -> int:
    target = Path(arguments.file)
    template = SHIPPED / f"{arguments.shipped}.yaml"
    if not template.is_file():
        known = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.yaml")))
        raise RecipeError(f"No recipe {arguments.shipped!r} ships with mnemic. Choose one of: {known}.")
    if target.exists() and not arguments.force:
        raise RecipeError(f"{target} exists. Name another file, or overwrite it with --force.")
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in target.stem)
    text = template.read_text(encoding="utf-8")
    if arguments.shipped == "folder":
        text = text.replace("name: folder", f"name: {name}").replace("path: texts", f"path: {arguments.folder}")
    target.write_text(text, encoding="utf-8")
    print(f"{target} written. Look at it, then: mnemic plan {target}; mnemic build {target}")
    return 0
