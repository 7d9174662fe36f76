"""`mnemic completion`: what a shell has to know to complete commands, options and their values.

The script is made of the commands themselves, so it knows what they know; one of another package that does not load is
completed by its name alone. Whoever installs another extra or package writes it again.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mnemic.errors import MnemicError
from mnemic.plugins import plugins
from mnemic.terminal import one_line, say

SUMMARY = "the completion of commands and options for bash, zsh or fish"
EXAMPLES = """  mnemic completion bash > ~/.local/share/bash-completion/completions/mnemic
  mnemic completion zsh > ~/.zfunc/_mnemic        with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
  mnemic completion fish > ~/.config/fish/completions/mnemic.fish"""

SHELLS = ("bash", "zsh", "fish")

_WORD = re.compile(r"[A-Za-z0-9][\w.-]*")
"""Names and values that a shell takes as they are; another one is not completed."""


@dataclass(frozen=True)
class CompletedOption:
    """``names`` of an option (`--until`), what it says of itself, whether a value follows, and which there are."""

    names: tuple[str, ...]
    help: str
    takes_value: bool
    choices: tuple[str, ...]


@dataclass(frozen=True)
class CompletedCommand:
    """``words``: what may stand first behind the command, beside files."""

    name: str
    summary: str
    options: tuple[CompletedOption, ...]
    words: tuple[str, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="the shell that the script is for")


def run(arguments: argparse.Namespace) -> int:
    listed = list(commands())
    say({"bash": bash, "zsh": zsh, "fish": fish}[arguments.shell](listed))
    return 0


def commands() -> Iterator[CompletedCommand]:
    """All commands, those of other packages too, with their options."""
    from mnemic.command import GROUP, OWN, load

    names = [*OWN, *(plugin.name for plugin in plugins(GROUP) if plugin.name not in OWN)]
    for name in filter(_WORD.fullmatch, names):
        parser = argparse.ArgumentParser(prog=name)
        try:
            module = load(name)
            module.add_arguments(parser)
            summary = one_line(str(module.SUMMARY), 100)
        except (MnemicError, AttributeError, TypeError, ValueError, argparse.ArgumentError):
            parser, summary = argparse.ArgumentParser(prog=name), ""
        yield CompletedCommand(name, summary, tuple(_options(parser)), tuple(_first_words(parser)))


def _options(parser: argparse.ArgumentParser) -> Iterator[CompletedOption]:
    for action in parser._actions:
        names = tuple(name for name in action.option_strings if _WORD.fullmatch(name.lstrip("-")))
        if names:
            yield CompletedOption(names, one_line(action.help or "", 100), action.nargs != 0, _choices(action))


def _first_words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Choices of the first argument, or the shipped recipes where it is one."""
    first = next((action for action in parser._actions if not action.option_strings), None)
    if first is not None and first.metavar == "RECIPE":
        from mnemic.floors import HOME

        yield from sorted(place.stem for place in (HOME / "pipelines" / "recipes").glob("*.yaml"))
    elif first is not None:
        yield from _choices(first)


def _choices(action: argparse.Action) -> tuple[str, ...]:
    return tuple(str(choice) for choice in action.choices or () if _WORD.fullmatch(str(choice)))


def bash(listed: list[CompletedCommand]) -> str:
    """A script for bash: options, their values, shipped recipes, and files."""
    values, options, words = [], [], []
    for command in listed:
        options.append(f"    {command.name}) options={_quoted(' '.join(_names(command)))} ;;")
        if command.words:
            words.append(f"    {command.name}) words={_quoted(' '.join(command.words))} ;;")
        for option in command.options:
            if option.choices:
                keys = "|".join(f"{command.name}:{name}" for name in option.names)
                values.append(f"    {keys}) values={_quoted(' '.join(option.choices))} ;;")
    return "\n".join(
        [
            "# bash completion of mnemic, made by `mnemic completion bash`",
            "_mnemic() {",
            "  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}",
            "  local options= values= words=",
            "  COMPREPLY=()",
            '  if [ "$COMP_CWORD" -eq 1 ]; then',
            f"    words={_quoted(' '.join(command.name for command in listed))}",
            '    COMPREPLY=($(compgen -W "$words --help --version" -- "$current"))',
            "    return",
            "  fi",
            '  case "$command:$before" in',
            *values,
            "  esac",
            '  if [ -n "$values" ]; then COMPREPLY=($(compgen -W "$values" -- "$current")); return; fi',
            '  case "$command" in',
            *options,
            "  esac",
            '  case "$command" in',
            *words,
            "  esac",
            '  case "$current" in',
            '    -*) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;',
            '    *) [ "$COMP_CWORD" -eq 2 ] && COMPREPLY=($(compgen -W "$words" -- "$current")) ;;',
            "  esac",
            "}",
            "complete -o bashdefault -o default -F _mnemic mnemic",
        ]
    )


def zsh(listed: list[CompletedCommand]) -> str:
    """A script for zsh, which shows what each command and option does."""
    lines = ["#compdef mnemic", "# made by `mnemic completion zsh`", "_mnemic() {", "  local -a commands=("]
    lines += [f"    {_quoted(f'{command.name}:{command.summary}')}" for command in listed]
    lines += ["  )", "  if (( CURRENT == 2 )); then _describe command commands; return; fi", "  case $words[2] in"]
    for command in listed:
        specs = []
        for option in command.options:
            text = option.help.replace("[", "(").replace("]", ")").replace(":", ",")
            value = f":value:({' '.join(option.choices)})" if option.choices else ":value:_files"
            specs += [_quoted(f"*{name}[{text}]{value if option.takes_value else ''}") for name in option.names]
        first = f"{{compadd -- {' '.join(command.words)}; _files}}" if command.words else "_files"
        specs.append(_quoted(f"*:argument:{first}"))
        lines.append(f"    {command.name}) shift words; (( CURRENT-- )); _arguments {' '.join(specs)} ;;")
    return "\n".join([*lines, "  esac", "}", '_mnemic "$@"'])


def fish(listed: list[CompletedCommand]) -> str:
    """A script for fish, which shows what each command and option does."""
    lines = ["# fish completion of mnemic, made by `mnemic completion fish`"]
    for command in listed:
        lines.append(
            f"complete -c mnemic -n __fish_use_subcommand -f -a {command.name} -d {_fish_quoted(command.summary)}"
        )
    for command in listed:
        begin = f"complete -c mnemic -n '__fish_seen_subcommand_from {command.name}'"
        if command.words:
            lines.append(f"{begin} -a {_fish_quoted(' '.join(command.words))}")
        for option in command.options:
            flags = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            value = " -r" if option.takes_value else ""
            value += f" -f -a {_fish_quoted(' '.join(option.choices))}" if option.choices else ""
            lines.append(f"{begin} {flags}{value} -d {_fish_quoted(option.help)}")
    return "\n".join(lines)


def _names(command: CompletedCommand) -> list[str]:
    return [name for option in command.options for name in option.names]


def _quoted(text: str) -> str:
    """``text`` in single quotes of bash and zsh: nothing in it is expanded."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
