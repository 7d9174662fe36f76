"""Measurements start: they import without their peers, say what they are, and name the data that they miss."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import bench
from bench import data, places, report

PEERS = (
    "blingfire",
    "chonkie",
    "datasketch",
    "faiss",
    "gaoya",
    "langchain_experimental",
    "nltk",
    "rensa",
    "segeval",
    "sentence_transformers",
)
MODULES = sorted(module.name for module in pkgutil.walk_packages(bench.__path__, "bench."))


def is_command(module: str) -> bool:
    """Whether the module calls `bench.report.main`."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    name = module.removeprefix("bench.").removesuffix(".__main__")
    return f'main("{name}", __doc__' in Path(spec.origin).read_text(encoding="utf-8")


COMMANDS = [module for module in MODULES if is_command(module)]

WITHOUT_PEERS = """
import sys
for name in {peers}:
    sys.modules[name] = None
import importlib, io, contextlib
for name in {modules}:
    importlib.import_module(name)
from bench.report import MissingPeer, peer_library
for name in {peers}:
    try:
        peer_library(name)
    except MissingPeer as error:
        assert name in str(error) and str(error).endswith("-c deploy/constraints.txt"), error
    else:
        raise AssertionError(name)
"""


def test_every_measurement_is_a_command() -> None:
    stages = {name.removesuffix(".__main__").removeprefix("bench.") for name in MODULES if name.endswith("__main__")}
    of_text = {"cluster", "curate", "deduplicate", "embed", "search", "segment", "units", "written"}
    of_banks = {"engine", "over_time", "peak", "scale", "serve"}
    of_memories = {"blocks", "datastore", "edits", "imitate", "latents", "pages", "suffix", "teacher"}
    assert stages == {*of_text, *of_banks, *of_memories, "exports", "sources"}
    with_words_of_their_own = {"exports", "sources"}  # such as the format that is read
    assert {f"bench.{stage}.__main__" for stage in stages - with_words_of_their_own} <= set(COMMANDS)


def test_modules_import_without_peers() -> None:
    code = WITHOUT_PEERS.format(peers=PEERS, modules=MODULES)
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_is_measured(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # `bench.cluster` sets it, for its own process
    module = importlib.import_module(name)
    command = name.removeprefix("bench.").removesuffix(".__main__")
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    with pytest.raises(SystemExit) as stop:
        report.main(command, module.__doc__ or "", lambda quick: [])
    output = capsys.readouterr().out
    assert stop.value.code == 0
    assert f"python -m bench.{command}" in output and "--quick" in output
    assert "Expected on machine" in output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(data, "DATA", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", data.SETS)
def test_absent_data_says_what_to_fetch_from_where(name: str, folder: Path) -> None:
    with pytest.raises(data.MissingData) as failure:
        data.paths(name)
    sentence, file = str(failure.value), data.SETS[name].files[0]
    for part in (str(folder / file.path), "is absent", data.SETS[name].licence, file.address, "MNEMIC_BENCH_DATA"):
        assert part in sentence
    assert len(list(data.faults(name))) == len(data.SETS[name].files)


def test_another_file_is_refused_and_the_right_one_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "qmsum_val.jsonl").write_text("{}", encoding="utf-8")
    with pytest.raises(data.MissingData, match="another file than the one that was measured"):
        data.path("qmsum")
    sha256 = hashlib.sha256(b"{}").hexdigest()
    public = data.PublicSet("MIT", (data.PublicFile("qmsum_val.jsonl", sha256, "https://example.org"),))
    monkeypatch.setitem(data.SETS, "qmsum", public)
    assert data.path("qmsum") == folder / "qmsum_val.jsonl"


def test_a_measurement_without_its_data_ends_with_the_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    segment = importlib.import_module("bench.segment.__main__")
    monkeypatch.setattr(sys, "argv", ["segment", "--quick"])
    assert report.main("segment", "", segment.measure) == 2
    assert str(folder / "tiage_train.json") in capsys.readouterr().err


def test_no_default_place_lies_outside_of_cache_and_repository() -> None:
    sources = [path for path in Path(bench.__path__[0]).rglob("*.py") if path.name != "places.py"]
    assert len(sources) > 30
    for path in sources:
        text = path.read_text(encoding="utf-8")
        assert "environ.get(" not in text and "shared/" not in text and "parents[" not in text, path
    assert places.DATA.is_absolute() and places.CACHE.is_absolute()
