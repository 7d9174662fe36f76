"""The command `mnemic`: what it lists, what it refuses, and how fast it starts."""

import io
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from mnemic.command import OWN, load, main, summary
from mnemic.errors import PluginError
from mnemic.plugins import find_plugin, plugins

ROOT = Path(__file__).parents[2]


def install(folder: Path, package: str, entry_points: str, **modules: str) -> Path:
    """A package as pip leaves it in a folder: its modules, and the metadata that names its entry points."""
    info = folder / f"{package.replace('-', '_')}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(entry_points)
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    return folder


HELLO = """
SUMMARY = "say hello"
EXAMPLES = "  mnemic hello"
def add_arguments(parser): parser.add_argument("--name", default="world")
def run(arguments): print("hello", arguments.name); return 3
"""


@pytest.fixture
def offered(tmp_path, monkeypatch):
    """A package with a command that works, one that does not load, one that is none, and one that is called as ours."""
    points = (
        "[mnemic.commands]\nhello = greetings\nbroken = unlucky\nempty = nothing_in_it\nplan = greetings\n"
        "[mnemic.memories]\nunigram = greetings:Missing\n"
    )
    install(tmp_path, "Some-Package", points, greetings=HELLO, unlucky="import nowhere_to_be_found", nothing_in_it="")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", list(OWN))
def test_every_command_has_help_with_examples_and_exit_codes(name, capsys):
    assert f"mnemic {name}" in load(name).EXAMPLES
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    output = capsys.readouterr().out
    assert caught.value.code == 0 and "examples:" in output and "exit codes:" in output


@pytest.mark.parametrize(
    "code",
    [
        '"""Of a command."""\nimport re\nSUMMARY = "what it does"\nEXAMPLES = """\nSUMMARY = "another"\n"""\n',
        '"""Of a command.\nSUMMARY = "as in this line"\n"""\nSUMMARY = "what it does"\n',
        '"""Of a command."""\nSUMMARY = (\n    "what "\n    "it does"\n)\n',
        'if True:\n    SUMMARY = "another"\nSUMMARY = str(1)\nSUMMARY = "what it does"\n',
    ],
)
def test_a_summary_is_read_wherever_it_stands(code, tmp_path):
    (tmp_path / "command.py").write_text(code)
    assert summary(tmp_path / "command.py") == "what it does"


def test_the_list_has_every_command_with_its_summary(capsys):
    assert main([]) == 2
    output = capsys.readouterr().out
    width = max(map(len, OWN))
    assert all(f"  {name:<{width}}  {load(name).SUMMARY}" in output for name in OWN)
    assert "commands of other packages" not in output


def test_every_command_module_is_in_the_list():
    modules = {f"{folder}.command.{file.stem}" for folder in ("mnemic", "pipelines") for file in
               (ROOT / folder / "command").glob("[a-z]*.py")}  # fmt: skip
    assert modules == set(OWN.values())


def test_every_command_is_in_the_docs():
    page = (ROOT / "docs" / "commands.md").read_text()
    assert all(f"`mnemic {name}" in page for name in OWN)


@pytest.mark.parametrize(("name", "hint"), [("serch", "Did you mean `mnemic search`?"), ("zzz", "`mnemic --help`")])
def test_an_unknown_command_is_told_with_the_nearest(name, hint, capsys):
    assert main([name]) == 2
    assert hint in capsys.readouterr().err


def test_commands_of_other_packages_join(offered, capsys):
    assert main(["hello", "--name", "Ada"]) == 3
    assert capsys.readouterr().out == "hello Ada\n"
    with pytest.raises(SystemExit):
        main(["hello", "--help"])
    assert "Say hello." in capsys.readouterr().out
    main([])
    output = capsys.readouterr().out
    assert "commands of other packages:" in output and "say hello (Some-Package)" in output
    assert output.count("\n  plan ") == 1, "a name of ours stays ours"
    assert main(["helo"]) == 2
    assert "mnemic hello" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken", "The command 'broken' of Some-Package 1.2 cannot be loaded from unlucky (ModuleNotFoundError: "),
        ("empty", "lacks SUMMARY, EXAMPLES, add_arguments, run"),
    ],
)
def test_a_command_that_does_not_load_is_a_sentence(offered, name, reason, capsys):
    assert main([name]) == PluginError.exit_code
    assert reason in capsys.readouterr().err


def test_a_package_that_exits_or_prints_on_import_does_neither_here(tmp_path, monkeypatch, capsys):
    points = "[mnemic.commands]\nleaving = leaving\n[mnemic.memories]\nloud = loud:KIND\n"
    install(tmp_path, "Rude", points, leaving="raise SystemExit(3)", loud="print('noise')\nKIND = None")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["leaving"]) == PluginError.exit_code
    assert "it ends the process with 3" in capsys.readouterr().err
    with pytest.raises(PluginError, match="lacks name, title"):
        find_plugin("mnemic.memories", "loud").load()
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "noise\n")


def test_the_list_imports_no_package(tmp_path, monkeypatch, capsys):
    package = install(tmp_path, "Slow", "[mnemic.commands]\nslow = slowly.command\n") / "slowly"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "command.py").write_text('SUMMARY = "take long"')
    monkeypatch.syspath_prepend(str(tmp_path))
    main([])
    assert "  slow        take long (Slow)" in capsys.readouterr().out


def test_an_error_of_another_packages_command_is_a_sentence_with_its_place(tmp_path, monkeypatch, capsys):
    source = HELLO.replace('print("hello", arguments.name); return 3', "raise KeyError('name')")
    install(tmp_path, "Failing", "[mnemic.commands]\nfail = failing\n", failing=source)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["fail"]) == PluginError.exit_code
    assert "failing.py:5 (KeyError: 'name'). Repair the package" in capsys.readouterr().err


def test_two_packages_with_one_name_are_told(offered, tmp_path, monkeypatch):
    install(tmp_path / "more", "Another", "[mnemic.commands]\nhello = greetings\n")
    monkeypatch.syspath_prepend(str(tmp_path / "more"))
    assert [plugin.package for plugin in plugins("mnemic.commands")].count("Another") == 1
    with pytest.raises(PluginError, match="Both Another and Some-Package offer a command 'hello'"):
        find_plugin("mnemic.commands", "hello")


def test_the_doctor_lists_what_joined(offered, capsys):
    assert main(["doctor", "--json"]) == 0
    import json

    facts = json.loads(capsys.readouterr().out)
    problems = {(plugin["kind"], plugin["name"]): plugin["problem"] for plugin in facts["plugins"]}
    assert problems["command", "hello"] is None
    assert "cannot be loaded" in problems["memory", "unigram"] and "lacks" in problems["command", "empty"]
    assert "mnemic has a command of that name" in problems["command", "plan"]
    assert {(plugin["package"], plugin["version"]) for plugin in facts["plugins"]} == {("Some-Package", "1.2")}
    assert main(["doctor"]) == 0
    assert "  command   hello        Some-Package 1.2" in capsys.readouterr().out


def test_help_starts_at_once_and_imports_nothing_heavy():
    """The goal is 0.3 s as a median of five warm starts; counted is the processor, whatever else runs."""
    heavy = "{'torch', 'lance', 'pyarrow', 'numpy', 'yaml', 'pydantic'}"
    code = (
        "import sys; from mnemic.command import main; main([]); "
        f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    times = []
    for _ in range(5):
        before = os.times()
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        times.append(sum(os.times()[2:4]) - sum(before[2:4]))
        assert done.stderr.strip() == "[]"
    assert 0 < statistics.median(times) < 1.0


def test_a_build_says_at_a_terminal_that_it_starts_before_anything_is_imported(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for words, seen in ((["build", "none.yaml"], True), (["build", "none.yaml", "--quiet"], False)):
        stream = Terminal()
        monkeypatch.setattr("sys.stderr", stream)
        assert main(words) == 2
        assert stream.getvalue().startswith("mnemic build: starting\r\x1b[2K") == seen


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--canaries", "--questions", "q.jsonl"], "--questions and --canaries are evaluations of their own"),
        (["--forgotten", "--speed"], "--forgotten and --speed are evaluations of their own"),
        (["--level", "turn"], "Give --questions FILE"),
    ],
)
def test_no_option_of_eval_leaves_out_another_in_silence(options, fault, capsys):
    assert main(["eval", "nowhere", *options]) != 0
    assert fault in capsys.readouterr().err
