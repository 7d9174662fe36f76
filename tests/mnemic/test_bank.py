"""Using a bank: search, attach, export, why, and what is told when something is not there."""

import copy
import io
import json
import pickle
import re
import sqlite3

import pyarrow.parquet as pq
import pytest

import mnemic
from mnemic.command import main
from mnemic.dataset import commit
from mnemic.errors import BankError, ModelError, QueryError
from mnemic.search.searcher import Searcher


@pytest.fixture(scope="module")
def recipe(tiny):
    return tiny.recipe


@pytest.fixture(scope="module")
def bank(tiny):
    return tiny.open()


def test_searching_by_words_and_by_meaning(bank):
    # Of one unit: the vector of a longer event is a mean, which a random encoder does not give its whole text.
    event = bank.table("events", ["id", "text"], "end_unit = first_unit + 1 AND leaf").to_pylist()[0]
    hits = bank.search(event["text"], words=400)
    assert event["id"] in {one.id for one in hits}
    best = max(hits, key=lambda one: one.score)
    assert best.id == event["id"]
    assert best.similarity == pytest.approx(1.0, abs=0.01)
    assert best.bm25 > 0 and best.reason.startswith("meaning: rank 1, words: rank 1")
    assert sum(one.words for one in hits) <= 400


@pytest.mark.parametrize("error", [IndexError("index 9 is out of bounds"), ValueError("no such shape")])
def test_an_encoder_that_fails_is_no_fault_of_the_bank_or_of_the_condition(error):
    class Encoder:
        def encode_queries(self, texts):
            raise error

    searcher = Searcher.__new__(Searcher)
    with pytest.raises(ModelError, match=r"encoder cannot encode this query.*Try other words"):
        searcher._encoded(Encoder(), "table index version")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))], ids=["copy", "pickle"])
def test_a_bank_that_has_searched_is_copied_by_path_and_release(tiny, copied):
    bank = tiny.open()
    hits = bank.search("table index version")
    again = copied(bank)
    assert (again.path, again.release) == (bank.path, bank.release)
    assert not {"encoder", "tree"} & vars(again._searcher).keys(), "what it had loaded is not copied"
    assert again.search("table index version") == hits
    assert copied(bank.view).table("events", ["id"]) == bank.table("events", ["id"])


def test_leaves_are_searched_unless_a_level_is_named(bank):
    assert bank.search("table index version", level="turn") == [], "no text of it is a conversation"
    for level in (None, "session", "event", "passage"):
        hits = bank.search("table index version", words=None, k=20, level=level)
        ids = ",".join(f"'{one.id}'" for one in hits)
        rows = bank.table("events", ["level", "leaf"], f"id IN ({ids})").to_pylist()
        assert rows and all(row["level"] == level if level else row["leaf"] for row in rows)
    with pytest.raises(QueryError, match="choose one of session, event, turn, passage"):
        bank.search("table", level="chapter")


def test_equal_queries_give_equal_results(bank):
    assert bank.search("lease of a bank", words=200) == bank.search("lease of a bank", words=200)


def test_a_condition_is_applied_before_the_search(bank):
    document = bank.table("events", ["document"])["document"][0].as_py()
    hits = bank.search("table index version", words=None, k=50, where=f"document = '{document}'")
    assert hits and {one.document for one in hits} == {document}
    (timed,) = bank.search("lease", words=100, where="start_time > date '2026-01-01'")
    assert timed.locator.startswith("notes.jsonl")


def test_queries_that_cannot_be_answered_are_told(bank):
    with pytest.raises(QueryError, match="query is empty"):
        bank.search("   ")
    with pytest.raises(QueryError, match="Write SQL over id, document"):
        bank.search("table", where="colour = 'red'")


def test_attaching_the_model_it_was_made_for(bank, recipe):
    import torch

    from mnemic.attach import detach
    from mnemic.languagemodel import load as load_model

    model, tokenizer = load_model(recipe["language_model"], "float32")
    inputs = tokenizer("The table of a column", return_tensors="pt")
    with torch.inference_mode():
        before = model(**inputs).logits
        assert torch.equal(bank.attach(model, weight=0.0, tokenizer=tokenizer)(**inputs).logits, before)
        mixed = bank.attach(model)(**inputs).logits
        assert not torch.equal(mixed, before)
        assert torch.allclose(mixed.exp().sum(-1), torch.ones(mixed.shape[:2]), atol=1e-4)
        assert (
            bank.attach(model).generate(**inputs, max_new_tokens=4, do_sample=False).shape[1]
            == inputs.input_ids.shape[1] + 4
        )
        assert torch.equal(detach(model)(**inputs).logits, before)


def test_another_model_is_refused(bank, tmp_path):
    from tiny_models import save_tiny_model

    from mnemic.languagemodel import load as load_model

    other, _ = load_model(save_tiny_model(tmp_path / "other", seed=7), "float32")
    with pytest.raises(ModelError, match="weights"):
        bank.attach(other)


def test_paths_that_are_not_banks(tmp_path, monkeypatch):
    monkeypatch.setattr(commit, "ATTEMPTS", 1)  # Lance itself tries a broken path for seconds
    with pytest.raises(BankError, match="does not exist"):
        mnemic.open_bank(tmp_path / "nowhere")
    with pytest.raises(BankError, match="is not a bank"):
        mnemic.open_bank(tmp_path)
    sqlite3.connect(tmp_path / "releases.lance").close()
    with pytest.raises(BankError):
        mnemic.open_bank(tmp_path)


def test_releases_are_found_by_the_beginning_of_their_name(bank, recipe):
    assert mnemic.open_bank(recipe["bank"], release=bank.release.name[:4]).release == bank.release
    with pytest.raises(BankError, match="has no release '1999'"):
        mnemic.open_bank(recipe["bank"], release="1999")


def test_why_a_document_was_dropped(bank, recipe, capsys):
    row = bank.table("documents", ["id", "duplicate_of"], "locator = 'gamma/near.rst'").to_pylist()[0]
    other = bank.table("documents", ["id", "duplicate_of"], "locator = 'beta/001.txt'").to_pylist()[0]
    assert {row["duplicate_of"], other["duplicate_of"]} == {"", row["id"]}, "the longer one is kept"
    assert main(["why", recipe["bank"], other["id"][:10]]) == 0
    story = capsys.readouterr().out
    assert "dropped" in story and "gamma/near.rst" in story and "duplicate similarity 0.9" in story


def test_why_an_event_begins_where_it_does(bank, recipe, capsys):
    def told(condition):
        event = bank.table("events", ["id"], condition)["id"][0].as_py()
        assert main(["why", recipe["bank"], event]) == 0
        story = capsys.readouterr().out
        assert f"> {event[:12]}" in story
        return story

    topic = told("level = 'event' AND cause = 'topic'")
    assert "begins here: the topic turns (probability of a boundary 0." in topic or "boundary 1.000" in topic
    assert "inside session" in topic
    session = told("level = 'session'")
    assert "begins here: the document begins" in session and "ends here: the document ends" in session
    assert "rows of the level below" in session
    passage = told("level = 'passage' AND cause = 'length'")
    assert "begins here: a length limit cut here" in passage and "inside event" in passage
    assert main(["why", recipe["bank"], "zz"]) == 5
    assert "no id" in capsys.readouterr().err


def test_exporting(bank, recipe, tmp_path, capsys):
    assert main(["export", recipe["bank"], "documents", str(tmp_path / "kept.jsonl")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert len(rows) == bank.dataset("documents").count("duplicate_of = ''")
    assert "signature" not in rows[0] and rows[0]["text"]
    assert main(["export", recipe["bank"], "events", str(tmp_path / "e.parquet"), "--all"]) == 0
    table = pq.read_table(tmp_path / "e.parquet")
    assert len(table) == bank.dataset("events").count() and "vector" in table.schema.names
    assert main(["export", recipe["bank"], "pairs", str(tmp_path / "pairs.csv")]) == 2
    capsys.readouterr()
    assert main(["export", recipe["bank"], "pairs", "-"]) == 0
    assert {json.loads(line)["rule"] for line in capsys.readouterr().out.splitlines()} == {"exact", "jaccard"}


def test_showing(bank, recipe, capsys):
    assert main(["show", recipe["bank"]]) == 0
    output = capsys.readouterr().out
    assert bank.release.name in output and "near duplicates" in output
    assert main(["show", recipe["bank"], "--lineage"]) == 0
    assert "imitate" in capsys.readouterr().out
    assert main(["show", recipe["bank"], "--failures"]) == 0
    assert "delta/broken.txt" in capsys.readouterr().out
    assert main(["show", recipe["bank"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["funnel"]["documents"] == 40


def test_the_digest_command_prints_what_the_bank_says(bank, recipe, capsys):
    assert main(["digest", recipe["bank"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == bank.digest()


def test_a_budget_may_be_of_tokens(bank):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bank.release.recipe["embed"]["model"])
    for counted, settings in (
        (tokenizer.tokenize, {"tokenizer": tokenizer}),
        (str.split, {"tokenizer": lambda t: len(t.split())}),
    ):
        hits = bank.search("table index version", tokens=60, **settings)
        assert 0 < sum(len(counted(event.text)) for event in hits) <= 60
    assert bank.search("table index version", tokens=60) == bank.search(
        "table index version", tokens=60, tokenizer=tokenizer
    )


def test_what_stands_next_to_a_hit_has_a_share_of_the_budget(bank):
    (best,) = bank.search("table index version", words=None, k=1)
    row = bank.table("events", ["previous", "next"], f"id = '{best.id}'").to_pylist()[0]
    without = bank.search("table index version", words=150, contiguity=0.0)
    hits = bank.search("table index version", words=150, contiguity=0.5)
    beside = [event for event in hits if event.reason.startswith("next to")]
    assert beside and not any(event.reason.startswith("next to") for event in without)
    near = {row["previous"], row["next"]} - {""}
    leaves = set(bank.table("events", ["id"], "leaf")["id"].to_pylist())
    assert near & leaves <= {event.id for event in hits}
    assert hits.words <= 150


def test_a_route_compares_the_vectors_of_few_clusters(bank):
    leaves = bank.release.lineage["cluster"]["found"]["leaves"]
    assert leaves > 1
    everything = bank.search("table index version", route=leaves)
    assert everything.scanned == 1.0 and everything == bank.search("table index version")
    some = bank.search("table index version", words=None, k=30, route=1)
    assert 0 < some.scanned < 1
    ids = ",".join(f"'{event.id}'" for event in some if event.similarity is not None)
    assert len(set(bank.table("events", ["cluster"], f"id IN ({ids})")["cluster"].to_pylist())) == 1


def test_conditions_by_name(bank):
    hits = bank.search("table index version", words=None, k=50, where={"collection": ["alpha", "beta"]})
    assert {event.collection for event in hits} == {"alpha", "beta"}
    (timed,) = bank.search("lease", words=100, where={"after": "2026-01-01", "before": "2026-02-01"})
    assert timed.locator.startswith("notes.jsonl")
    assert bank.search("lease", where={"tenant": "somebody else"}) == []


def test_searching_on_the_command_line(recipe, capsys, monkeypatch):
    assert main(["search", recipe["bank"], "lease of a bank", "--words", "60"]) == 0
    assert "notes.jsonl" in capsys.readouterr().out
    assert main(["search", recipe["bank"], "table", "-k", "3", "--collection", "alpha", "--route", "1"]) == 0
    output = capsys.readouterr().out
    assert len(re.findall(r"^[123]\.  alpha/\S+  folder", output, re.M)) == 3 and "of the vectors compared" in output
    monkeypatch.setattr("sys.stdin", io.StringIO("lease of a bank\n\n  \ntable\n"))
    assert main(["search", recipe["bank"], "--words", "40"]) == 0
    assert capsys.readouterr().out.count("from release") == 2
    assert main(["search", recipe["bank"], "lease of a bank", "--text"]) == 0
    assert capsys.readouterr().out.startswith('<passage n="1" source="folder" locator="')
    assert main(["search", recipe["bank"], "lease of a bank", "--json"]) == 0
    assert all(json.loads(line)["reason"] for line in capsys.readouterr().out.splitlines())


def test_evaluating(recipe, capsys):
    assert main(["eval", recipe["bank"]]) == 0
    output = capsys.readouterr().out
    assert "held-out documents" in output and "+ MLP memory" in output
    assert main(["eval", recipe["bank"], "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["weights"]) == {"knn", "mlp"}


def test_the_doctor_tells_what_is_there(capsys):
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["packages"]["pylance"] and facts["python"].startswith("3.")


def test_errors_are_sentences_and_have_their_exit_codes(tmp_path, capsys):
    assert main(["search", str(tmp_path), "x"]) == 5
    assert "is not a bank" in capsys.readouterr().err
    assert main(["build", str(tmp_path / "none.yaml")]) == 2
    assert main(["plan", "demoo"]) == 2
    assert main([]) == 2


def test_limits_that_allow_nothing_are_told(bank):
    for limits in ({"words": 0}, {"words": -3}, {"k": 0}):
        with pytest.raises(QueryError, match=r"set (words|k) to at least 1"):
            bank.search("table", **limits)


def test_a_condition_that_is_no_sql_is_told_with_the_reason(bank, tmp_path, capsys):
    with pytest.raises(QueryError, match="nope"):
        bank.table("events", ["id"], "nope = 1")
    assert main(["export", bank.path, "events", str(tmp_path / "x.parquet"), "--where", "nope = 1"]) == 2
    assert "Write SQL over id, document" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["export", bank.path, "events", str(tmp_path / "no" / "x.jsonl")]) == 1
    assert "Check the path" in capsys.readouterr().err


def test_a_query_of_half_a_character_is_answered(bank):
    assert bank.search("table \udcff")
