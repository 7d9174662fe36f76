"""A folder of PDFs, a table, mail and chats becomes one bank by `init --folder` and `build`; nothing is lost in it."""

import json

import chat_exports
import pytest
import record_files as files
import yaml
from tiny_encoder import save_tiny_encoder

import mnemic
from bench.sources.document_files import odt, pdf
from mnemic.command import main

pytest.importorskip("pypdfium2")

GOOD = [
    ["Harbour office", "The lighthouse keeper counts the ships of the night.", "1"],
    ["Harbour office", "Ropes rot where the sun and the salt are.", "2"],
]
OTHER = [["Granite quarries of the north", "A crane of oak lifted every block by hand."]]


SLACK, PARQUET = "slack-slack-export", "parquet-rows"
FAILED = {"papers/locked.pdf", "papers/broken.pdf", "papers/broken.odt", "broken.parquet"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("everything") / "stuff"
    (root / "papers").mkdir(parents=True)
    (root / "papers" / "harbour.pdf").write_bytes(pdf(GOOD, title="The harbour"))
    (root / "papers" / "quarry.pdf").write_bytes(pdf(OTHER, title="The quarry"))
    (root / "papers" / "locked.pdf").write_bytes(pdf(OTHER, encrypt=True))
    (root / "papers" / "broken.pdf").write_bytes(pdf(GOOD)[:300])
    (root / "papers" / "report.odt").write_bytes(odt("<text:p>The anchor of the old barge lies in the reeds.</text:p>"))
    (root / "papers" / "broken.odt").write_bytes(odt()[:400])
    files.write_parquet(root / "rows.parquet")
    (root / "broken.parquet").write_bytes((root / "rows.parquet").read_bytes()[:500])
    (root / "bakers.mbox").write_text(chat_exports.mbox())
    (root / "broken.mbox").write_text(chat_exports.mbox(2).replace("word001x", "\0"))
    chat_exports.slack(root / "slack-export")
    chat_exports.slack(root / "slack-broken")
    for place in (root / "slack-broken" / "general").iterdir():
        place.write_text(place.read_text().replace("word", "lost")[:1000])
    conversations = json.dumps(chat_exports.chatgpt()).replace("word", "assistantword")
    (root / "chatgpt").mkdir()
    (root / "chatgpt" / "conversations.json").write_text(conversations)
    (root / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


@pytest.fixture(scope="module")
def written(folder, tmp_path_factory):
    """The recipe that `init` writes, and what it prints."""
    import contextlib
    import io

    recipe = tmp_path_factory.mktemp("recipe") / "mine.yaml"
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["init", str(recipe), "--folder", str(folder)]) == 0
    return recipe, out.getvalue()


@pytest.fixture(scope="module")
def bank(written, tmp_path_factory):
    """Built from the recipe as it was written, but for an encoder that the tests have."""
    recipe, _ = written
    root = tmp_path_factory.mktemp("bank")
    content = yaml.safe_load(recipe.read_text())
    for source in content["sources"]:
        if source["kind"] == "parquet":
            source["columns"] = {"stars": "number"}
    content["bank"] = str(root / "bank")
    content["embed"] = {"model": str(save_tiny_encoder(root / "encoder")), "dtype": "float32"}
    (recipe.parent / "built.yaml").write_text(yaml.safe_dump(content))
    assert main(["build", str(recipe.parent / "built.yaml"), "--device", "cpu"]) == 0
    return mnemic.open_bank(content["bank"])


def test_init_says_what_it_found(written):
    _, out = written
    counts = ("4  pdf", "2  odt", "2  parquet", "2  mail", "1  chatgpt", "2  slack")
    for line in (*counts, "not read       a PNG image: photo.png"):
        assert line in out, out


def test_sources_of_one_kind_are_named_after_what_they_read(written):
    names = [source.get("name", source["kind"]) for source in yaml.safe_load(written[0].read_text())["sources"]]
    assert {"slack-slack-export", "slack-slack-broken", "parquet-rows", "parquet-broken", "mail", "pdf"} <= set(names)


def test_everything_is_in_one_bank(bank):
    rows = bank.view.table("documents", ["source", "locator", "text"]).to_pylist()
    by_source = {name: [row for row in rows if row["source"] == name] for name in ("pdf", "odt", PARQUET)}
    assert {row["locator"] for row in by_source["pdf"]} == {"papers/harbour.pdf", "papers/quarry.pdf"}
    assert [row["text"] for row in by_source["odt"]] == ["The anchor of the old barge lies in the reeds."]
    assert len(by_source[PARQUET]) == len(files.ROWS)
    words = " ".join(row["text"] for row in rows)
    for number in range(8):
        assert chat_exports.word(number) in words
    assert "assistantword000x" in words


def test_conversations_have_speakers_threads_and_times(bank):
    turns = bank.view.table("events", ["source", "session", "speakers", "start_time", "level"]).to_pylist()
    pairs = {(row["source"], speaker) for row in turns for speaker in row["speakers"]}
    assert {(SLACK, "Ada"), (SLACK, "Bob"), ("chatgpt", "user"), ("chatgpt", "assistant")} <= pairs
    assert any(source == "mail" and "Ada" in speaker for source, speaker in pairs)
    for name in ("mail", SLACK, "chatgpt"):
        own = [row for row in turns if row["source"] == name]
        assert own, name
        assert all(row["session"] and row["start_time"] is not None for row in own), name
    assert len({row["session"] for row in turns if row["source"] == SLACK}) > 1, "a thread is a session"


def test_it_can_be_searched_across_and_by_speaker(bank):
    [hit] = bank.search("lighthouse keeper ships", k=1)
    assert hit.locator == "papers/harbour.pdf"
    hits = bank.search("bread rises", where={"source": SLACK, "speaker": "Bob"}, k=5)
    assert hits
    assert all("Bob" in hit.speakers for hit in hits)
    rated = bank.search("row tells", where="stars >= 2.5", k=9)
    assert {hit.metadata["stars"] for hit in rated} == {2.5, 3.0}


def test_every_file_that_failed_is_named_with_a_way_out(bank, capsys):
    assert main(["show", bank.path, "--failures"]) == 0
    shown = capsys.readouterr().out
    for name in (*FAILED, "slack-slack-broken  general/2026-03-02.json"):
        assert name in shown
    rejects = bank.view.table("rejects", ["locator", "reason", "severity"]).to_pylist()
    failed = {row["locator"]: row["reason"] for row in rejects if row["severity"] == "reject"}
    messages = {"broken.mbox#2", *(locator for locator in failed if locator.startswith("general/"))}
    assert len(messages) == 3 and set(failed) == FAILED | messages
    assert all(reason.endswith(".") and ("; " in reason or "." in reason[:-1]) for reason in failed.values())


def test_building_again_reads_nothing(bank, written):
    recipe = written[0].parent / "built.yaml"
    assert mnemic.plan(str(recipe)).nothing_to_do
