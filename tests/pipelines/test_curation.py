"""Rules over a whole bank: decisions are a column, nothing is deleted, and a threshold that moves reads no text."""

import json
import random
import shutil
from pathlib import Path

import lance
import pytest
from tiny_bank import UNITS_ALONE, curated, tiny_recipe, write_corpus

import mnemic
from mnemic.command import main
from mnemic.dataset import Snapshot, Store
from mnemic.funnel import funnel
from mnemic.kept import KEPT

SECTIONS = ("name", "bank", "fragment_characters", "sources", *UNITS_ALONE)


def recipe_of(root, corpus, few=60, action="flag", **changes):
    recipe = tiny_recipe(root, corpus, **UNITS_ALONE)
    rules = curated(root, action, few_words={"value": "words", "min": few})
    return {**{name: recipe[name] for name in SECTIONS}, **rules, **changes}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("curated")
    recipe = recipe_of(root, write_corpus(root / "corpus"))
    mnemic.build(recipe, device="cpu", engine="inline")
    return recipe


@pytest.fixture
def place(built, tmp_path):
    """(recipe of a copy of the bank, its folder)"""
    return {**built, "bank": str(shutil.copytree(built["bank"], tmp_path / "bank"))}, tmp_path


def decisions(bank):
    return {row["id"]: row["decision"] for row in bank.table("documents", ["id", "decision"]).to_pylist()}


def test_a_rule_deletes_nothing_and_what_it_drops_is_in_no_later_dataset(built):
    bank = mnemic.open_bank(built["bank"])
    rows = bank.table("documents", ["id", "decision", "statistics", "duplicate_of"]).to_pylist()
    dropped = {row["id"] for row in rows if row["decision"]["rule"]}
    assert len(rows) == 40 and 0 < len(dropped) < 40
    assert dropped == {row["id"] for row in rows if row["statistics"]["words"] < 60}
    ids = set(bank.table("documents", ["id"], KEPT)["id"].to_pylist())
    assert ids == {row["id"] for row in rows if row["id"] not in dropped and not row["duplicate_of"]}
    assert set(bank.table("units", ["document"])["document"].to_pylist()) == ids
    counts = funnel(bank)
    assert counts["dropped by rules"] == len(dropped) and counts["kept"] == len(ids)


def test_a_moved_threshold_reads_the_counts_of_its_rules_and_no_text(place, monkeypatch):
    recipe, _ = place
    columns = set()
    scan = Snapshot.scan

    def watched(self, names, *arguments, **keywords):
        if self.uri.endswith("documents.lance"):
            columns.update(names)
        return scan(self, names, *arguments, **keywords)

    monkeypatch.setattr(Snapshot, "scan", watched)
    recipe["curate"] = {**recipe["curate"], "rules": {"few_words": {"value": "words", "min": 70}}}
    result = mnemic.build(recipe, device="cpu", engine="inline", until="curate")
    assert [step.step for step in result.steps] == ["curate"]
    counts = {"statistics.words", "statistics.script"}
    others = {"item", "length", "id"}  # for `read`, for the estimate, for matches
    assert columns == {*others, *counts}, columns


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the bytes that a process reads are Linux's to count")
def test_a_moved_threshold_reads_fewer_bytes_than_the_texts_have(tmp_path):
    """All bytes that the process reads while it builds again, Lance's own reads and those of manifests with them."""
    corpus, draw = tmp_path / "corpus", random.Random(0)
    corpus.mkdir()
    for number in range(30):
        words = " ".join(f"{draw.getrandbits(60):x}" for _ in range(12_000))
        (corpus / f"{number}.txt").write_text(words)
    recipe = {**recipe_of(tmp_path, corpus), "fragment_characters": 1_500_000}
    mnemic.build(recipe, device="cpu", engine="inline", until="curate")
    dataset = lance.dataset(f"{recipe['bank']}/documents.lance")
    dataset.io_stats_incremental()
    dataset.to_table(columns=["text"])
    texts = dataset.io_stats_incremental().read_bytes
    recipe = {**recipe_of(tmp_path, corpus, few=70), "fragment_characters": 1_500_000}
    before = bytes_read()
    result = mnemic.build(recipe, device="cpu", engine="inline", until="curate")
    assert [step.step for step in result.steps] == ["curate"]
    assert (bytes_read() - before) * 2 < texts


def bytes_read():
    return int(Path("/proc/self/io").read_text().split()[1])


def test_a_moved_threshold_decides_anew_about_duplicates_and_signs_nothing(place):
    recipe, _ = place
    before = mnemic.open_bank(recipe["bank"])
    signed = before.dataset("documents").field_ids("signature")
    runs = before.dataset("bands").version
    recipe["curate"] = {**recipe["curate"], "rules": {"few_words": {"value": "words", "min": 75}}}
    result = mnemic.build(recipe, device="cpu", engine="inline")
    assert "signature" not in [step.step for step in result.steps] and "deduplicate" in [s.step for s in result.steps]
    after = mnemic.open_bank(recipe["bank"])
    assert after.dataset("documents").field_ids("signature") == signed and after.dataset("bands").version == runs
    fresh = {**recipe, "bank": recipe["bank"] + "-fresh"}
    mnemic.build(fresh, device="cpu", engine="inline")
    at_once, in_two_steps = mnemic.open_bank(fresh["bank"]).digest(), after.digest()
    for dataset in ("documents", "pairs", "units"):
        assert at_once[dataset] == in_two_steps[dataset], dataset


def test_without_rules_a_bank_is_what_it_was(place):
    recipe, folder = place
    plain = {name: recipe[name] for name in SECTIONS}
    plan = mnemic.plan(plain, device="cpu")
    assert not plan.nothing_to_do and "decisions that the recipe no longer makes" in str(plan.steps[-1].reasons)
    mnemic.build(plain, device="cpu", engine="inline")
    bank = mnemic.open_bank(plain["bank"])
    assert "decision" not in bank.dataset("documents").schema.names
    fresh = {**plain, "bank": str(folder / "fresh")}
    mnemic.build(fresh, device="cpu", engine="inline")
    assert bank.digest()["units"] == mnemic.open_bank(fresh["bank"]).digest()["units"]
    assert mnemic.plan(plain, device="cpu").nothing_to_do


def test_any_fragments_give_the_same_decisions(built, tmp_path):
    for size in (3000, 100_000):
        other = {**built, "bank": str(tmp_path / str(size)), "fragment_characters": size}
        mnemic.build(other, device="cpu", engine="inline", until="curate")
        rows = Store(other["bank"])["documents"].require().table(["id", "decision", "statistics"])
        mine = mnemic.open_bank(built["bank"]).table("documents", ["id", "decision", "statistics"])
        assert rows.sort_by("id").to_pylist() == mine.sort_by("id").to_pylist()


def corpus_of(folder, **texts):
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


LONG = "The commit of a fragment is read by one writer, and the release pins the version of the table. " * 4


def test_a_document_that_passes_ranks_before_one_that_a_rule_drops(tmp_path):
    """Of two near copies the longer one ranks first, unless a rule drops it: its text would be lost."""
    corpus = corpus_of(tmp_path / "corpus", longer=LONG + "# #", other=LONG, alone="Nothing resembles this text. " * 9)
    recipe = recipe_of(tmp_path, corpus, few=1)
    recipe["curate"]["rules"] = {"hashes": {"value": "hash_signs", "max": 5}}
    mnemic.build(recipe, device="cpu", engine="inline")

    def kept():
        bank = mnemic.open_bank(recipe["bank"])
        return sorted(bank.table("documents", ["locator"], KEPT)["locator"].to_pylist())

    assert kept() == ["alone.txt", "longer.txt"]
    recipe["curate"] = {"rules": {"hashes": {"value": "hash_signs", "max": 1}}}
    mnemic.build(recipe, device="cpu", engine="inline")
    assert kept() == ["alone.txt", "other.txt"]


def test_a_new_document_is_no_copy_of_one_that_a_rule_dropped_before(tmp_path):
    corpus = corpus_of(tmp_path / "corpus", longer=LONG + "# #", alone="Nothing resembles this text. " * 9)
    recipe = recipe_of(tmp_path, corpus, few=1)
    recipe["curate"]["rules"] = {"hashes": {"value": "hash_signs", "max": 1}}
    mnemic.build(recipe, device="cpu", engine="inline")
    (corpus / "other.txt").write_text(LONG)
    mnemic.build(recipe, device="cpu", engine="inline")
    bank = mnemic.open_bank(recipe["bank"])
    assert sorted(bank.table("documents", ["locator"], KEPT)["locator"].to_pylist()) == ["alone.txt", "other.txt"]
    assert set(bank.table("documents", ["duplicate_of"])["duplicate_of"].to_pylist()) == {""}


def test_contamination_is_rows_and_drops_only_where_it_is_told_to(place, tmp_path):
    recipe, _ = place
    bank = mnemic.open_bank(recipe["bank"])
    (row,) = bank.table("contamination").to_pylist()
    text = bank.table("documents", ["text"], f"id = '{row['document']}'")["text"][0].as_py()
    assert text[row["start"] : row["end"]] == "The lease of a bank is held by one writer. It expires"
    assert (row["set"], row["question"], row["share"]) == ("questions.txt", "2", 1.0)
    root = Path(recipe["sources"][0]["path"]).parent
    rules = {"few_words": {"value": "words", "min": 1}}
    recipe["curate"] = {**curated(root, "drop")["curate"], "rules": rules}
    result = mnemic.build(recipe, device="cpu", engine="inline")
    assert "contamination" not in [step.step for step in result.steps], "the rows stand"
    decision = decisions(mnemic.open_bank(recipe["bank"]))[row["document"]]
    assert decision == {"rule": "contaminated", "value": 1.0, "threshold": 0.0, "rules": ["contaminated"]}
    (root / "questions.txt").write_text("Something else is asked here, and nothing of it stands in the text?\n")
    result = mnemic.build(recipe, device="cpu", engine="inline")
    assert {"contamination", "curate"} <= {step.step for step in result.steps}, "an edited set is compared again"
    assert decisions(mnemic.open_bank(recipe["bank"]))[row["document"]]["rule"] == ""
    curated(root)


@pytest.fixture
def command(capsys):
    """What a command of mnemic prints."""

    def printed(*words):
        capsys.readouterr()
        assert main([*words]) == 0
        return capsys.readouterr().out

    return printed


def test_why_gives_every_rule_with_value_and_threshold_and_all_that_fired(built, command):
    bank = mnemic.open_bank(built["bank"])
    (match,) = bank.table("contamination").to_pylist()
    facts = json.loads(command("why", built["bank"], match["document"], "--json"))
    assert facts["decision"]["rule"] == "few_words"
    (rule,) = facts["rules"]
    assert rule["fired"] and rule["threshold"] == 60 and rule["value"] == facts["decision"]["value"] == 12
    assert facts["contamination"] == [match]
    story = command("why", built["bank"], match["document"])
    assert "dropped by the rule few_words: 12, and the threshold is 60" in story
    assert "stand in question 2 of questions.txt (100% of it)" in story
    identity = bank.table("documents", ["id"], KEPT)["id"][0].as_py()
    assert "no rule drops it" in (story := command("why", built["bank"], identity)) and "at least 60" in story


def test_plan_says_what_each_rule_drops_alone_first_and_only(built):
    rules = {
        "few_words": {"value": "words", "min": 60},
        "few_letters": {"value": "letters", "min": 420},
        "none": {"value": "words", "max": 1e9},
    }
    changed = {**built, "curate": {"rules": rules}}
    effects = mnemic.plan(changed, device="cpu").effects
    rows = mnemic.open_bank(built["bank"]).table("documents", ["statistics"])["statistics"].to_pylist()
    words = {place for place, row in enumerate(rows) if row["words"] < 60}
    letters = {place for place, row in enumerate(rows) if row["letters"] < 420}
    assert not effects.sampled and effects.documents == 40 and effects.dropped == len(words | letters)
    by_name = {rule.rule: rule for rule in effects.rules}
    assert [by_name["few_words"].alone, by_name["few_words"].first] == [len(words), len(words)]
    assert by_name["few_letters"].first == len(letters - words) and by_name["few_letters"].only == len(letters - words)
    assert by_name["few_words"].only == len(words - letters) and by_name["none"].alone == 0
    assert by_name["few_words"].interval is None


def test_plan_measures_a_sample_where_there_are_no_statistics(built, monkeypatch, tmp_path):
    monkeypatch.setattr("pipelines.effects.SAMPLE", 25)
    plain = {name: value for name, value in built.items() if name != "curate"}
    plain["bank"] = str(tmp_path / "bank")
    assert mnemic.plan({**built, "bank": plain["bank"]}, device="cpu").effects is None
    mnemic.build(plain, device="cpu", engine="inline", until="read")
    effects = mnemic.plan({**built, "bank": plain["bank"]}, device="cpu").effects
    assert effects.sampled and effects.judged == 25 and effects.documents == 40
    (rule,) = effects.rules
    low, high = rule.interval
    assert 0 <= low < rule.share < high <= 1 and rule.share == rule.alone / 25


def test_a_rule_that_drops_one_source_far_more_often_is_warned_of(tmp_path):
    for name, text in (("list", "a b c"), ("prose", LONG), ("notes", LONG), ("pages", LONG)):
        corpus_of(tmp_path / name, **{f"{number}": f"{number} {text}" for number in range(20)})
    recipe = recipe_of(tmp_path, tmp_path / "list", few=20)
    recipe["sources"] = [
        {"kind": "folder", "path": str(tmp_path / name), "name": name} for name in ("list", "prose", "notes", "pages")
    ]
    mnemic.build(recipe, device="cpu", engine="inline", until="measure")
    (rule,) = mnemic.plan(recipe, device="cpu").effects.rules
    assert rule.sources == {"list": 1.0, "prose": 0.0, "notes": 0.0, "pages": 0.0}
    assert rule.warning.startswith("few_words drops 100% of the source list and 25.0% of a source on average")
    calm = {**recipe, "curate": {**recipe["curate"], "max_disparity": 5}}
    assert mnemic.plan(calm, device="cpu").effects.rules[0].warning == ""


def test_a_span_that_is_cut_is_in_no_unit_and_the_text_stays(place, command):
    recipe, _ = place
    root = Path(recipe["sources"][0]["path"]).parent
    (match,) = mnemic.open_bank(recipe["bank"]).table("contamination").to_pylist()
    recipe["curate"] = {**curated(root, "cut")["curate"], "rules": {}}
    mnemic.build(recipe, device="cpu", engine="inline")
    bank = mnemic.open_bank(recipe["bank"])
    (row,) = bank.table("documents", ["text", "edits"], f"id = '{match['document']}'").to_pylist()
    assert row["edits"] == [{"start": match["start"], "end": match["end"], "rule": "contaminated"}]
    assert "The lease of a bank" in row["text"], "nothing is deleted"
    units = bank.table("units", ["document", "text", "start", "end"]).to_pylist()
    mine = [unit for unit in units if unit["document"] == match["document"]]
    assert all(row["text"][unit["start"] : unit["end"]] == unit["text"] for unit in mine)
    assert "lease of a bank is held" not in " ".join(unit["text"] for unit in units)
    others = bank.table("documents", ["id", "edits"], f"id <> '{match['document']}'")["edits"].to_pylist()
    assert others == [[]] * 39
    assert "cut by contaminated, characters" in command("why", recipe["bank"], match["document"])


def test_lines_that_c4_drops_are_left_out_of_what_is_made_of_the_text(tmp_path):
    prose = "This is the first line of the page, and it ends.\nHere is another one for the reader of it.\n" * 3
    corpus = corpus_of(
        tmp_path / "corpus", page=f"Menu\nYou need Javascript to see the page.\n{prose}No end here at all\n"
    )
    recipe = recipe_of(tmp_path, corpus)
    recipe["curate"] = {"preset": "c4@datatrove"}
    mnemic.build(recipe, device="cpu", engine="inline")
    bank = mnemic.open_bank(recipe["bank"])
    (row,) = bank.table("documents", ["text", "edits", "decision"]).to_pylist()
    cut = [row["text"][edit["start"] : edit["end"]] for edit in row["edits"]]
    assert cut == ["Menu\n", "You need Javascript to see the page.\n", "No end here at all\n"]
    assert row["decision"]["rule"] == ""
    assert {unit.split()[0] for unit in bank.table("units", ["text"])["text"].to_pylist()} == {"This", "Here"}
    edits = mnemic.open_bank(recipe["bank"]).dataset("documents").field_ids("edits")
    recipe["curate"] = {"preset": "c4@datatrove", "rules": {"too_few_sentences": {"min": 3}}}
    result = mnemic.build(recipe, device="cpu", engine="inline")
    assert not {"edits", "units"} & {step.step for step in result.steps}, "thresholds change no edit"
    assert mnemic.open_bank(recipe["bank"]).dataset("documents").field_ids("edits") == edits
