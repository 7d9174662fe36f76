"""Two banks become one: each document once, with where it is from, as if all had been read together."""

import os
import shutil

import pytest
from many_releases import SECTIONS, text_of
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.errors import RecipeError
from pipelines.sources.bank import BankDocuments


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two banks of the same models: of the tiny corpus, and of texts of which it has two."""
    root = tmp_path_factory.mktemp("compose")
    recipe = tiny_recipe(root, write_corpus(root / "ours"))
    recipe = {name: recipe[name] for name in SECTIONS}
    (root / "theirs").mkdir()
    for number in range(5):
        (root / "theirs" / f"report-{number}.txt").write_text(text_of(number))
    for name in ("alpha/000.txt", "beta/001.txt"):
        shutil.copy(root / "ours" / name, root / "theirs")
    for name in ("ours", "theirs"):
        source = {"kind": "folder", "path": str(root / name)}
        mnemic.build({**recipe, "name": name, "bank": str(root / f"bank-{name}"), "sources": [source]}, device="cpu")
    return root


@pytest.fixture
def banks(place, tmp_path):
    return [str(shutil.copytree(place / f"bank-{name}", tmp_path / name)) for name in ("ours", "theirs")]


def test_each_document_is_there_once_and_says_where_it_is_from(banks, tmp_path):
    both = tmp_path / "both"
    mnemic.compose(banks, both, device="cpu")
    bank = mnemic.open_bank(both)
    rows = bank.table("documents").to_pylist()
    assert {row["bank"] for row in rows} == {"ours", "theirs"} and {row["origin"] for row in rows} == {"folder"}
    texts = [{row["text"] for row in mnemic.open_bank(one).table("documents").to_pylist()} for one in banks]
    assert {row["text"] for row in rows} == texts[0] | texts[1]
    kept_texts = [row["text"] for row in rows if not row["duplicate_of"]]
    assert len(kept_texts) == len(set(kept_texts)), "what both have is a duplicate"
    fallen = [row for row in rows if row["duplicate_of"] and row["bank"] == "theirs"]
    assert {row["locator"].rpartition("/")[2] for row in fallen} <= {"000.txt", "001.txt"}
    (hit, *_) = bank.search("report of the station", k=3, where="bank = 'theirs'")
    assert hit.metadata["bank"] == "theirs" and hit.metadata["origin"] == "folder"
    assert not mnemic.compose(banks, both, device="cpu").steps, "again there is nothing to do"


def test_it_is_the_bank_of_one_corpus_but_for_names(banks, place, tmp_path):
    """Units are those of a bank that read both folders."""
    both, together = tmp_path / "both", tmp_path / "together"
    mnemic.compose(banks, both, device="cpu", until="units")
    recipe = tiny_recipe(place, place / "ours")
    sources = [{"kind": "folder", "name": name, "path": str(place / name)} for name in ("ours", "theirs")]
    complete = {**{name: recipe[name] for name in SECTIONS}, "bank": str(together), "sources": sources}
    mnemic.build(complete, device="cpu", until="units")
    units = [
        Store(one)["units"].require().table(["text"]).sort_by("text")["text"].to_pylist() for one in (both, together)
    ]
    assert units[0] == units[1]


def test_what_comes_and_what_is_removed_follows(banks, tmp_path):
    both = tmp_path / "both"
    assert (
        main(["compose", *banks, "--into", str(both), "--write", str(tmp_path / "both.yaml"), "--device", "cpu"]) == 0
    )
    reports = "locator IN ('report-1.txt', 'report-2.txt')"
    mnemic.remove(banks[1], reports)
    mnemic.build(str(tmp_path / "both.yaml"), device="cpu")
    names = {row["locator"] for row in mnemic.open_bank(both).table("documents").to_pylist()}
    assert "folder/report-3.txt" in names and not names & {"folder/report-1.txt", "folder/report-2.txt"}


def test_a_release_that_is_named_stays(banks, tmp_path, capsys):
    release = mnemic.open_bank(banks[1]).release.name
    mnemic.remove(banks[1], "locator = 'report-1.txt'")
    assert main(["compose", banks[0], f"{banks[1]}@{release}", "--into", str(tmp_path / "both"), "--dry-run"]) == 0
    assert "read" in capsys.readouterr().out and not os.path.exists(tmp_path / "both")
    mnemic.compose([banks[0], f"{banks[1]}@{release}"], tmp_path / "both", device="cpu", until="read")
    assert Store(tmp_path / "both")["documents"].require().count("locator = 'folder/report-1.txt'") == 1


def test_what_cannot_be_one_is_told(banks):
    with pytest.raises(RecipeError, match="two or more"):
        mnemic.compose(banks[:1], "elsewhere")
    with pytest.raises(RecipeError, match="another place"):
        mnemic.compose(banks, banks[1])


def test_turns_that_are_no_parts_of_a_text_are_a_reject():
    source = BankDocuments(path="nowhere", name="theirs")
    row = {"source": "chats", "locator": "a", "text": "Good morning.", "time": None}
    row |= dict.fromkeys(("collection", "tenant", "session", "speaker"), "")
    turn = {"id": "1", "speaker": "anna", "time": None}
    good = [{**turn, "start": 0, "end": 4}, {**turn, "start": 5, "end": 13}]
    document = source._document({**row, "turns": good}, [], 100)
    assert (document.locator, len(document.turns)) == ("chats/a", 2)
    for turns in (good[::-1], [{**turn, "start": 3, "end": 99}], [{**turn, "start": -1, "end": 2}]):
        assert "no parts of its text" in source._document({**row, "turns": turns}, [], 100).reason
    assert "max_document_bytes" in source._document(row, [], 5).reason
