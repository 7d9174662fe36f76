"""The command `mnemic`. `show`, `search`, `why`, `export`, `digest`, `verify`, `repair` and `doctor` work on the base
install; `init`, `plan`, `build` and `eval` join from the package `pipelines` through the entry-point group
`mnemic.commands`.

A command is a module with ``SUMMARY``, ``EXAMPLES``, ``add_arguments(parser)`` and ``run(arguments) -> exit code``.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType

import mnemic
from mnemic.errors import MissingExtra, MnemicError, NoSpace
from mnemic.terminal import plain

COMMANDS = {
    "init": "write a commented recipe",
    "plan": "what a build would run, what is done and why",
    "build": "run a recipe; carries on where the last build ended",
    "search": "events that answer a question, under a budget of words",
    "show": "releases, datasets, lineage; --failures: what was left out and why",
    "why": "why a document was dropped, or why an event begins and ends where it does",
    "eval": "the numbers: duplicates, perplexity with and without memory",
    "export": "kept documents, events or pairs as Parquet or JSON Lines",
    "digest": "the content hash by which two banks are compared",
    "verify": "whether every file of a bank is what it was when its releases were written",
    "repair": "lets a bank that cannot be read go back to versions whose files are all there",
    "doctor": "what is installed, and what is missing for what",
}
"""In the order in which a person meets them."""

OWN = ("digest", "doctor", "export", "repair", "search", "show", "verify", "why")

EXIT_CODES = """exit codes:
  0 done   1 other error   2 recipe or arguments   3 source   4 model   5 not a bank, or not readable
  6 bank in use by another build   7 bank of another recipe   8 step failed   9 too many rejects
  10 no space left   11 an extra is not installed   12 a cluster or an object store does not answer
  130 interrupted (what was committed is kept)"""


def load(name: str) -> ModuleType:
    """The module of a command. Raises ``MissingExtra`` when it needs packages that are not installed."""
    if name in OWN:
        return import_module(f"mnemic.command.{name}")
    for entry in entry_points(group="mnemic.commands", name=name):
        try:
            module: ModuleType = entry.load()
        except ModuleNotFoundError as error:
            raise MissingExtra(_missing(name, error)) from error
        return module
    raise MissingExtra(f"`mnemic {name}` is not installed. Install it with `pip install 'mnemic[pipeline]'`.")


def _missing(name: str, error: ModuleNotFoundError) -> str:
    missing = str(error.name)
    package = missing.partition(".")[0]
    if package in ("pipelines", "operators"):
        hiding = sys.modules.get(package)
        place = getattr(hiding, "__path__", ["an unknown place"])
        return (
            f"A folder called {package!r} hides mnemic's own package "
            f"of that name (found in {next(iter(place))}). "
            "Run the command from another folder, or rename that one."
        )
    return f"`mnemic {name}` needs {missing}, which is not installed. Install it with `pip install 'mnemic[pipeline]'`."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Nothing of mnemic downloads by itself; a model is named by a path, a package, or an id in the local cache.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a letter shows its code
    try:
        return _run(given)
    except MnemicError as error:
        print(f"mnemic: {plain(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nmnemic: interrupted; what was committed is kept, and the same command carries on.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"mnemic: {plain(str(error))}. Check the path, its owner, and the disk.", file=sys.stderr)
        return NoSpace.exit_code if error.errno == errno.ENOSPC else MnemicError.exit_code


def _run(given: Sequence[str]) -> int:
    listing = "\n".join(f"  {name:<8} {summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="mnemic",
        description="Turn corpora and conversations into versioned memory that language models can load.",
        usage="mnemic COMMAND ...",
        epilog=f"commands:\n{listing}\n\n`mnemic COMMAND --help` shows examples.\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mnemic {mnemic.__version__}")
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND", help="what to do, one of the list below")
    if not given or given[0] not in COMMANDS:
        if not given:
            parser.print_help()
            return 2
        parser.parse_args(given)
        return 2
    name = given[0]
    module = load(name)
    sub = argparse.ArgumentParser(
        prog=f"mnemic {name}",
        description=f"{COMMANDS[name][0].upper()}{COMMANDS[name][1:]}.",
        epilog=f"examples:\n{module.EXAMPLES.rstrip()}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(sub)
    code: int = module.run(sub.parse_args(given[1:]))
    return code
