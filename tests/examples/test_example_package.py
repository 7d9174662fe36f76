"""A package that is no part of mnemic adds a source, an operator with its dataset, a kind of memory and a command.

The package of examples/mnemic-example is installed into a folder of its own, which only other processes have on their
path; this process is a reader without it.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_encoder import save_tiny_encoder
from tiny_models import save_tiny_model

import mnemic
from mnemic.command import main
from mnemic.errors import BankError

ROOT = Path(__file__).parents[2]
SCRIPT = """
import contextlib, io, json, sys
from pathlib import Path
import torch
import mnemic
from mnemic.command import main
from mnemic.languagemodel import load

def run(*words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}

place = Path(sys.argv[1])
recipe, bank = str(place / "recipe.yaml"), str(place / "bank")
report = {"help": run(), "doctor": run("doctor", "--json"), "misspelt": run("plan", str(place / "misspelt.yaml"))}
report["plan"] = run("plan", recipe)
report["build"] = run("build", recipe)
report["again"] = run("build", recipe)
report["plan again"] = run("plan", recipe, "--json")
report["digest"] = run("digest", bank, "--json")
report["export"] = run("export", bank, "dates", "-")
report["hello"] = run("hello", bank)
opened = mnemic.open_bank(bank)
report["memories"] = [info.name for info in opened.memories()]
report["pinned"] = opened.release.versions
report["rejects"] = opened.table("rejects", ["locator", "severity", "step"]).to_pylist()
model, tokenizer = load(str(place / "language-model"), "float32")
inputs = tokenizer("the parser", return_tensors="pt")
alone = model(**inputs).logits.log_softmax(-1)
mixed = opened.attach(model, "unigram", 0.25, tokenizer)(**inputs).logits
(column,) = opened.table("datastore", ["token"], "split = 'store'").columns
counts = torch.bincount(torch.from_numpy(column.to_numpy().astype("int64")), minlength=alone.shape[-1]).float()
expected = (0.75 * alone.exp() + 0.25 * counts / counts.sum()).log()
report["error of the mixture"] = float((mixed - expected).abs().max())
report["tuned"] = opened.tune(["unigram"])
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The folder that pip installed it into."""
    source, target = tmp_path_factory.mktemp("source") / "mnemic-example", tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "examples" / "mnemic-example", source)  # pip writes beside what it builds
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-build-isolation")
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, source], check=True)
    return target


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a recipe, and the logs that it names relative to itself."""
    root = tmp_path_factory.mktemp("place")
    save_tiny_encoder(root / "encoder"), save_tiny_model(root / "language-model")
    draw = random.Random(0)
    (root / "logs").mkdir()
    for day in range(1, 5):
        lines = [f"2026-03-0{day} 09:{minute} Ada: {words(draw)}" for minute in range(10, 24)]
        lines.append(f"2026-03-0{day} 10:00 Ben: See what we wrote on 2026-02-1{day}, and before 1969-01-01.")
        (root / "logs" / f"{day}.log").write_text("\n".join([*lines, "no time here"]))
    recipe = {
        "name": "logs",
        "bank": str(root / "bank"),
        "sources": [{"kind": "logbook", "path": "logs"}],
        "dates": {"earliest_year": 1970},
        "embed": {"model": str(root / "encoder"), "dtype": "float32", "batch_tokens": 512},
        "language_model": str(root / "language-model"),
        "split": {"tokens": 400, "held_out_tokens": 400, "min_characters": 20, "max_document_tokens": 64},
        "datastore": {"dtype": "float32", "window": 64, "stride": 32, "batch_tokens": 256},
        "imitate": False,
    }
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    misspelt = {
        **recipe,
        "sources": [{"kind": "logbook", "path": "logs", "skip_speaker": []}],
        "dates": {"earliest": 1},
    }
    (root / "misspelt.yaml").write_text(yaml.safe_dump(misspelt))
    return root


def words(draw: random.Random) -> str:
    vocabulary = ("parser", "table", "index", "column", "release", "reads", "writes", "every", "before", "after")
    return " ".join(draw.choices(vocabulary, k=12)) + "."


@pytest.fixture(scope="module")
def report(package, place, tmp_path_factory):
    """What happened in a process that has the package, started in another folder."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{package}"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, place],
        cwd=tmp_path_factory.mktemp("elsewhere"), env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_doctor_and_the_help_list_what_joined(report):
    plugins = json.loads(report["doctor"]["out"])["plugins"]
    assert {(one["kind"], one["name"], one["package"], one["version"], one["problem"]) for one in plugins} == {
        ("source", "logbook", "mnemic-example", "0.1.0", None),
        ("operator", "dates", "mnemic-example", "0.1.0", None),
        ("memory", "unigram", "mnemic-example", "0.1.0", None),
        ("command", "hello", "mnemic-example", "0.1.0", None),
    }
    assert (
        "hello       greet a bank, and tell the dates that its documents name (mnemic-example)" in report["help"]["out"]
    )


def test_misspelt_settings_are_told_with_the_right_ones(report):
    assert report["misspelt"]["code"] == 2
    assert "did you mean `skip_speakers`?" in report["misspelt"]["err"]
    assert "did you mean `earliest_year`?" in report["misspelt"]["err"]


def test_it_is_planned_and_built_and_a_second_build_runs_nothing(report):
    """The path of the source is relative to the recipe, wherever the build is started."""
    assert "dates" in report["plan"]["out"] and report["plan"]["code"] == 0
    assert report["build"]["code"] == 0, report["build"]["err"]
    assert json.loads(report["plan again"]["out"])["nothing_to_do"]
    assert report["again"]["code"] == 0 and "[dates]" not in report["again"]["out"]


def test_release_digest_and_export_have_its_dataset(report):
    assert "dates" in report["pinned"] and "dates" in json.loads(report["digest"]["out"])
    rows = [json.loads(line) for line in report["export"]["out"].splitlines()]
    assert sorted(row["date"] for row in rows) == [f"2026-02-1{day}" for day in range(1, 5)]


def test_what_it_could_not_take_is_a_reject(report):
    rejects = [row["locator"] for row in report["rejects"] if row["severity"] == "reject"]
    assert sorted(rejects) == [f"{day}.log#16" for day in range(1, 5)]


def test_its_command_runs(report):
    assert report["hello"]["out"].startswith("Hello, logs 20")
    assert report["hello"]["out"].endswith("4 dates, from 2026-02-11 to 2026-02-14\n")


def test_its_memory_is_listed_tuned_and_mixed_into_a_model(report):
    assert "unigram" in report["memories"] and 0 <= report["tuned"]["unigram"] <= 1
    assert report["error of the mixture"] < 1e-4


def test_a_reader_without_the_package_opens_the_bank(report, place, capsys):
    bank = mnemic.open_bank(place / "bank")
    assert bank.digest() == json.loads(report["digest"]["out"])
    assert len(bank.table("dates")) == 4 and len(bank.search("the parser", words=50)) > 0
    assert main(["show", bank.path]) == 0
    assert "dates" in capsys.readouterr().out
    assert main(["export", bank.path, "dates", "-"]) == 0
    assert capsys.readouterr().out == report["export"]["out"]


def test_what_needs_the_package_says_so(report, place, capsys):
    with pytest.raises(BankError, match="has no memory 'unigram'"):
        mnemic.open_bank(place / "bank").memory("unigram")
    assert main(["plan", str(place / "recipe.yaml")]) == 2
    assert "There is no source of kind 'logbook'" in capsys.readouterr().err
    assert main(["hello", str(place / "bank")]) == 2
    assert "There is no command 'hello'" in capsys.readouterr().err
