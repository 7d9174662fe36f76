"""Completion: every command and option is there, bash completes them, and nothing that a package says is run."""

import argparse
import shutil
import subprocess
from types import ModuleType

import pytest

from mnemic.command import OWN, main
from mnemic.command import completion as module
from mnemic.command.completion import SHELLS, bash, commands, fish, zsh

SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}


@pytest.fixture(scope="module")
def listed() -> list[module.CompletedCommand]:
    return list(commands())


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_there(shell: str, listed: list[module.CompletedCommand]) -> None:
    script = SCRIPTS[shell](listed)
    assert [command.name for command in listed][: len(OWN)] == list(OWN)
    for command in listed:
        assert command.name in script and len(command.options) >= 1
        for option in command.options:
            longest = max(option.names, key=len)
            flag = f"-l {longest[2:]} " if longest.startswith("--") else f"-s {longest[1:]} "
            assert (flag if shell == "fish" else longest) in script
    until = next(option for one in listed if one.name == "build" for option in one.options if "--until" in option.names)
    assert until.takes_value and "release" in until.help


def complete(script: str, *words: str) -> list[str]:
    """What bash proposes for the last of ``words``."""
    quoted = " ".join(f"'{word}'" for word in words)
    asking = (
        f'{script}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _mnemic; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(["bash", "--norc", "-c", asking], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.skipif(not shutil.which("bash"), reason="bash")
def test_bash_completes(listed: list[module.CompletedCommand]) -> None:
    script = bash(listed)
    assert complete(script, "mnemic", "bu") == ["build"]
    assert "search" in complete(script, "mnemic", "") and "--version" in complete(script, "mnemic", "--")
    assert complete(script, "mnemic", "build", "--un") == ["--until"]
    assert complete(script, "mnemic", "build", "demo", "--engine", "") == ["inline", "ray"]
    assert complete(script, "mnemic", "build", "demo-f") == ["demo-full"]
    assert complete(script, "mnemic", "search", "") == [], "files, which bash itself lists"
    assert complete(script, "mnemic", "completion", "z") == ["zsh"]
    assert complete(script, "mnemic", "nothing", "--x") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_takes_the_script_as_it_is(shell: str, listed: list[module.CompletedCommand]) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not here")
    done = subprocess.run([shell, "-n"], input=SCRIPTS[shell](listed), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_another_package_says_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    place = tmp_path / "ran"
    hostile = ModuleType("hostile")
    hostile.SUMMARY = f"it's $(touch {place}) `touch {place}`\x1b[2J\nline"

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--fine", help=f"'; touch {place}; '", choices=["good", f"$(touch {place})"])
        parser.add_argument(f"--$(touch {place})")

    hostile.add_arguments = add_arguments
    monkeypatch.setattr("mnemic.command.OWN", {"show": "", "x;touch": "", "evil": ""})
    monkeypatch.setattr("mnemic.command.load", lambda name: hostile)
    monkeypatch.setattr(module, "plugins", lambda group: [])
    listed = list(commands())
    assert [command.name for command in listed] == ["show", "evil"]
    scripts = {shell: make(listed) for shell, make in SCRIPTS.items()}
    assert not any("\x1b" in script or "\nline" in script for script in scripts.values())
    if shutil.which("bash"):
        assert complete(scripts["bash"], "mnemic", "evil", "--f") == ["--fine"]
        assert complete(scripts["bash"], "mnemic", "evil", "--fine", "") == ["good"]
    for shell in filter(shutil.which, SHELLS):
        subprocess.run([shell, "-c", scripts[shell]], capture_output=True, timeout=60, check=False)
    assert not place.exists()


@pytest.mark.skipif(not shutil.which("fish"), reason="fish")
def test_fish_completes(listed: list[module.CompletedCommand], tmp_path) -> None:
    (tmp_path / "mnemic.fish").write_text(fish(listed))

    def proposed(line: str) -> list[str]:
        asking = f"source {tmp_path}/mnemic.fish; complete -C '{line}'"
        done = subprocess.run(["fish", "--no-config", "-c", asking], capture_output=True, text=True, check=True)
        return [one.split("\t")[0] for one in done.stdout.splitlines()]

    assert proposed("mnemic bu") == ["build"]
    assert proposed("mnemic build demo --unt") == ["--until"]
    assert proposed("mnemic build demo --engine ") == ["inline", "ray"]


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("complete -o bashdefault -o default -F _mnemic mnemic")
    with pytest.raises(SystemExit):
        main(["completion", "tcsh"])
