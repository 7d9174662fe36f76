"""The command `mnemic`.

A command is a module with ``SUMMARY`` (a literal string, one line), ``EXAMPLES``, ``add_arguments(parser)`` and
``run(arguments) -> exit code``. Ours are listed in `OWN`; another package adds one by an entry point of the group
`mnemic.commands`. The list of commands shows each ``SUMMARY`` without importing the module, which may need torch.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import errno
import gc
import importlib.util
import io
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import mnemic
from mnemic.advice import for_bank
from mnemic.errors import MnemicError, NoSpace, PluginError, UnknownCommand
from mnemic.floors import HOME, load_floor
from mnemic.plugins import Plugin, find_plugin, plugins
from mnemic.terminal import plain
from mnemic.ticker import Ticker

OWN = {
    "init": "pipelines.command.init",
    "plan": "pipelines.command.plan",
    "build": "pipelines.command.build",
    "search": "mnemic.command.search",
    "grep": "mnemic.command.grep",
    "trace": "mnemic.command.trace",
    "timeline": "mnemic.command.timeline",
    "notes": "mnemic.command.notes",
    "relations": "mnemic.command.relations",
    "remember": "mnemic.command.remember",
    "forget": "mnemic.command.forget",
    "serve": "mnemic.command.serve",
    "show": "mnemic.command.show",
    "why": "mnemic.command.why",
    "diff": "mnemic.command.diff",
    "report": "mnemic.command.report",
    "eval": "pipelines.command.evaluate",
    "tune": "pipelines.command.tune",
    "export": "mnemic.command.export",
    "digest": "mnemic.command.digest",
    "verify": "mnemic.command.verify",
    "repair": "mnemic.command.repair",
    "rollback": "pipelines.command.rollback",
    "prune": "pipelines.command.prune",
    "compact": "pipelines.command.compact",
    "remove": "pipelines.command.remove",
    "compose": "pipelines.command.compose",
    "fuse": "pipelines.command.fuse",
    "copy": "mnemic.command.copy",
    "pack": "mnemic.command.pack",
    "unpack": "mnemic.command.unpack",
    "doctor": "mnemic.command.doctor",
    "completion": "mnemic.command.completion",
}
"""Command -> module, in the order in which a person meets them."""

GROUP = "mnemic.commands"

EXIT_CODES = """exit codes:
  0 done   1 other error   2 recipe or arguments   3 source   4 model   5 not a bank, or not readable
  6 bank in use by another build   7 bank of another recipe   8 step failed   9 too many rejects
  10 no space left   11 an extra is not installed, or a plugin does not load
  12 a cluster, an object store or a language model does not answer   13 a budget is used up
  130 interrupted (committed work is kept)"""


def load(name: str) -> ModuleType:
    """The module of a command.

    Raises ``UnknownCommand``, ``MissingExtra`` when it needs packages that are not installed, and ``PluginError`` when
    another package's command cannot be used.
    """
    if name in OWN:
        return load_floor(OWN[name], f"`mnemic {name}`")
    plugin = find_plugin(GROUP, name)
    if plugin is not None:
        module: ModuleType = plugin.load()
        return module
    names = [*OWN, *(plugin.name for plugin in plugins(GROUP))]
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean `mnemic {nearest[0]}`?" if nearest else "`mnemic --help` lists the commands."
    raise UnknownCommand(f"There is no command {name!r}. {hint}")


def summary(source: Path) -> str:
    """The ``SUMMARY`` of a command's source file, read without running it; "" where it is not a literal string."""
    code = source.read_text(encoding="utf-8")
    head, line, rest = code.partition("\nSUMMARY = ")
    with contextlib.suppress(SyntaxError):  # the line may go on, or stand in a string
        if line and (text := _summary_in(head + line + rest.partition("\n")[0])):
            return text
    return _summary_in(code)


def _summary_in(code: str) -> str:
    for node in ast.parse(code).body:
        if (
            isinstance(node, ast.Assign)
            and [getattr(target, "id", None) for target in node.targets] == ["SUMMARY"]
            and isinstance(node.value, ast.Constant)
        ):
            return str(node.value.value)
    return ""


def _summary_of_plugin(plugin: Plugin) -> str:
    try:
        package, *rest = plugin.entry.module.split(".")
        spec = importlib.util.find_spec(package)  # finding what is inside would import the package, which may be slow
        if spec is None or not spec.origin:
            return "does not load; see `mnemic doctor`"
        if not rest:
            return summary(Path(spec.origin))
        place = Path(spec.origin).parent.joinpath(*rest)
        return summary(place / "__init__.py" if place.is_dir() else place.with_suffix(".py"))
    except Exception as error:
        return f"does not load ({type(error).__name__}: {error}); see `mnemic doctor`"


def _listing() -> str:
    offered = [plugin for plugin in plugins(GROUP) if plugin.name not in OWN]
    width = max(map(len, [*OWN, *(plugin.name for plugin in offered)]))
    lines = ["commands:"]
    for name, module in OWN.items():
        source = HOME.joinpath(*module.split(".")).with_suffix(".py")
        lines.append(f"  {name:<{width}}  {summary(source) if source.exists() else 'not installed'}")
    if offered:
        lines.append("\ncommands of other packages:")
        lines += [f"  {plugin.name:<{width}}  {_summary_of_plugin(plugin)} ({plugin.package})" for plugin in offered]
    return plain("\n".join(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. Without ``arguments`` those of the process, which is its own."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Nothing of mnemic downloads by itself; a model is named by a path, a package, or an id in the local cache.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a letter shows its code
    try:
        if not words or words[0].startswith("-"):
            return _overview(words)
        with _uncollected() if arguments is None else contextlib.nullcontext(), _sign_of_life(words):
            module = load(words[0])
        return _run(words[0], module, words[1:])
    except MnemicError as error:
        print(f"mnemic: {plain(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nmnemic: interrupted; committed work is kept, and the same command carries on.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"mnemic: {plain(str(error))}. Check the path, its owner, and the disk.", file=sys.stderr)
        return NoSpace.exit_code if error.errno == errno.ENOSPC else MnemicError.exit_code


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """The garbage collector never looks at what is made within.

    What a command imports stays until its process ends, and is half a million objects: the collector's passes over them
    are a tenth of the time of `mnemic plan`.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def _sign_of_life(words: Sequence[str]) -> Iterator[None]:
    """On a terminal a command that shows its progress says at once that it starts: its imports take a second."""
    shown = words[0] in ("build", "eval") and sys.stderr.isatty() and not {"--help", "-h", "--quiet"} & {*words}
    ticker = None
    if shown:
        line = f"mnemic {words[0]}: starting"
        print(line, end="", file=sys.stderr, flush=True)
        ticker = Ticker(sys.stderr)
        ticker.show(line)
    try:
        yield
    finally:
        if ticker is not None:
            ticker.close()
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def _overview(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="mnemic",
        description="Turn corpora and conversations into versioned memory that language models can load.",
        usage="mnemic COMMAND ...",
        epilog=f"{_listing()}\n\n`mnemic COMMAND --help` shows examples.\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mnemic {mnemic.__version__}")
    if words:
        parser.parse_args(words)
    parser.print_help()
    return 2


def _run(name: str, module: ModuleType, words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=f"mnemic {name}",
        description=f"{module.SUMMARY[:1].upper()}{module.SUMMARY[1:]}.",
        epilog=f"examples:\n{module.EXAMPLES.rstrip()}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if name in OWN:
        module.add_arguments(parser)
        arguments = parser.parse_args(words)
        try:
            return int(module.run(arguments))
        except MnemicError as error:
            error.args = (for_bank(str(error), str(getattr(arguments, "bank", None) or "")),)
            raise
    return _run_of_package(name, module, parser, words)


def _run_of_package(name: str, module: ModuleType, parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Run another package's command; an error of its code that is no sentence becomes one, with the place."""
    try:
        module.add_arguments(parser)
        return int(module.run(parser.parse_args(words)) or 0)
    except (MnemicError, OSError):
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise PluginError(
            f"The command '{name}' failed at {place.filename}:{place.lineno} ({type(error).__name__}: {error}). Repair "
            "the package that offers it, or tell its authors."
        ) from error
