"""The scripts of examples/ run from any folder: here with tiny models, and with the packaged ones where marked slow."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_encoder import save_tiny_encoder
from tiny_models import save_tiny_model

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    "build_and_search.py": ["dropped as duplicates: ['again/releases.txt']", "the second build ran 0 steps"],
    "search_to_prompt.py": ['<passage-2 n="1" source="conversations"', 'time="2026-03-02 09:30"', "Question: "],
    "plan_and_rejects.py": ["reject: latin.txt: The file is not UTF-8", "empty: empty.txt", "max_words: 200 -> 100"],
    "segment_stream.py": ["units 0 to ", "which was open at the end"],
    "attach_memory.py": ["alone: ", "mlp, tuned: ", "knn, 0.9: ", "knn, Unrolling"],
}
"""Script -> what it prints, whatever the models are."""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    encoder, language_model = save_tiny_encoder(root / "encoder"), save_tiny_model(root / "language-model")
    return {"--encoder": encoder, "--language-model": language_model}


def test_every_script_is_here_and_in_the_list():
    scripts = {file.name for file in (ROOT / "examples").glob("*.py")}
    page = (ROOT / "examples" / "README.md").read_text()
    assert scripts == set(EXAMPLES) and all(f"]({name})" in page for name in scripts)


@pytest.mark.parametrize("script", EXAMPLES)
def test_it_is_short_and_imports_only_mnemic(script):
    text = (ROOT / "examples" / script).read_text()
    assert len(text.splitlines()) <= 60
    assert not re.search(r"(from|import) (operators|pipelines|flows)", text)


@pytest.mark.parametrize("script", EXAMPLES)
def test_it_runs_with_tiny_models(script, models, tmp_path, monkeypatch, capsys):
    file = ROOT / "examples" / script
    options = [word for option, model in models.items() if option in file.read_text() for word in (option, model)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, *options])
    runpy.run_path(str(file), run_name="__main__")
    output = capsys.readouterr().out
    assert [words for words in EXAMPLES[script] if words not in output] == []
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind"


@pytest.mark.slow
@pytest.mark.parametrize("script", EXAMPLES)
def test_it_runs_with_the_packaged_models(script, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, ROOT / "examples" / script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [words for words in EXAMPLES[script] if words not in done.stdout] == []
    if script == "build_and_search.py":
        assert "A build holds the lease of its bank" in done.stdout
    if script == "search_to_prompt.py":
        assert "I mended the parser" in done.stdout and "bicycle" not in done.stdout
    if script == "attach_memory.py":
        assert re.search("knn, 0.9: .*(Ada|Ben|Cleo|Dan|Eve|Finn)", done.stdout), done.stdout
