"""Deduplication in a bank: over shards and packs, from release to release, with documents that come, go and stay."""

import json
import random
import shutil

import pytest
from tiny_bank import UNITS_ALONE, tiny_recipe

import mnemic
from mnemic.command import main
from mnemic.dataset import Store
from mnemic.schema import PAIRS
from pipelines.plan import plan
from pipelines.run import build
from pipelines.steps.deduplicate import packs, step
from pipelines.steps.deduplicate import runs as runs_module

WORDS = [f"w{number}" for number in range(100)]


def text(*added: str, without: int = 0) -> str:
    return " ".join([*WORDS[: len(WORDS) - without], *added])


def texts_of(seed: int, families: int) -> dict[str, str]:
    """Families of a document, edits of it and copies of those."""
    drawn, texts = random.Random(seed), {}
    for family in range(families):
        words = [f"f{family}x{drawn.randrange(300)}" for _ in range(drawn.randrange(40, 120))]
        for member in range(drawn.randrange(1, 6)):
            edited = list(words)
            for _ in range(drawn.randrange(4)):
                edited[drawn.randrange(len(edited))] = f"new{drawn.randrange(99)}"
            text = " ".join(edited)
            texts[f"{family}-{member}.txt"] = text.upper() if drawn.random() < 0.2 else text
    return texts


@pytest.fixture
def place(tmp_path):
    (tmp_path / "corpus").mkdir()
    return tmp_path


@pytest.fixture
def recipe(place):
    fields = tiny_recipe(place, place / "corpus")
    return {name: fields[name] for name in ("name", "bank", "sources")} | UNITS_ALONE


def write(place, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (place / "corpus" / name).write_text(text)


def dropped(recipe) -> dict[str, str]:
    """Locators of dropped documents, and of what they duplicate."""
    rows = mnemic.open_bank(recipe["bank"]).table("documents", ["id", "locator", "duplicate_of"]).to_pylist()
    names = {row["id"]: row["locator"] for row in rows}
    return {row["locator"]: names[row["duplicate_of"]] for row in rows if row["duplicate_of"]}


def pairs(recipe) -> dict[tuple[str, str], str]:
    bank = mnemic.open_bank(recipe["bank"])
    names = {row["id"]: row["locator"] for row in bank.table("documents", ["id", "locator"]).to_pylist()}
    return {(names[row["document"]], names[row["other"]]): row["verdict"] for row in bank.table("pairs").to_pylist()}


def test_documents_of_an_earlier_release_win_until_all_is_decided_anew(place, recipe):
    write(place, {"first.txt": text(), "second.txt": text("more"), "alone.txt": "quite another text " * 9})
    build(recipe)
    first = mnemic.open_bank(recipe["bank"])
    assert dropped(recipe) == {"first.txt": "second.txt"}
    write(
        place, {"longest.txt": text("more", "and", "more"), "copy.txt": text("MORE"), "new.txt": "something new " * 30}
    )
    result = build(recipe)
    assert dropped(recipe) == {"first.txt": "second.txt", "longest.txt": "second.txt", "copy.txt": "second.txt"}
    assert pairs(recipe).keys() == {(name, "second.txt") for name in ("first.txt", "longest.txt", "copy.txt")}
    assert not build(recipe).steps
    assert {row.step: row.reasons for row in plan(recipe).steps}["deduplicate"] == ()

    rebalanced = {**recipe, "bank": str(place / "rebalanced")}
    shutil.copytree(recipe["bank"], rebalanced["bank"])
    build(rebalanced, rebalance=True)
    fresh = {**recipe, "bank": str(place / "fresh")}
    build(fresh)
    assert dropped(rebalanced) == dropped(fresh) != dropped(recipe)
    assert mnemic.open_bank(rebalanced["bank"]).digest() == mnemic.open_bank(fresh["bank"]).digest()
    before = mnemic.open_bank(rebalanced["bank"], release=first.release.name)
    assert before.digest() == first.digest()
    assert result.release.name == mnemic.open_bank(recipe["bank"]).release.name


def test_what_fell_to_a_document_that_has_gone_is_decided_about_again(place, recipe):
    write(place, {"keeper.txt": text("the", "longest"), "near.txt": text("x"), "copy.txt": text("X"), "z.txt": "z"})
    build(recipe)
    assert dropped(recipe).keys() == {"near.txt", "copy.txt"} and set(dropped(recipe).values()) == {"keeper.txt"}
    (place / "corpus" / "keeper.txt").unlink()
    build(recipe)
    ((fallen, standing),) = dropped(recipe).items()
    assert {fallen, standing} == {"near.txt", "copy.txt"}
    (place / "corpus" / standing).unlink()
    build(recipe)
    assert dropped(recipe) == {} == pairs(recipe)


def test_a_copy_whose_original_has_gone_stays_with_what_that_fell_to(place, recipe):
    write(place, {"keeper.txt": text("the", "longest"), "near.txt": text("x"), "copy.txt": text("X")})
    build(recipe)
    (original,) = {other for document, other in pairs(recipe) if other != "keeper.txt"}
    (place / "corpus" / original).unlink()
    build(recipe)
    (left,) = {"near.txt", "copy.txt"} - {original}
    assert dropped(recipe) == {left: "keeper.txt"} and pairs(recipe) == {(left, "keeper.txt"): "duplicate"}


WAYS = [("auto", 1e-6), ("lshbloom", 4.0)]
SLOW_WAYS = [("auto", 4.0), ("minhash", 1e-6), ("minhash", 4.0), ("lshbloom", 1e-6)]


@pytest.mark.parametrize(
    ("method", "memory_gb"), [*WAYS, *(pytest.param(*way, marks=pytest.mark.slow) for way in SLOW_WAYS)]
)
def test_shards_packs_and_fragments_change_nothing(place, recipe, memory_gb, method, monkeypatch):
    write(place, texts_of(1, 12))
    build(recipe, until="deduplicate")
    digest = head(recipe)
    monkeypatch.setattr(step, "PACK", 3)
    monkeypatch.setattr(runs_module, "LARGE", 50)
    other = {
        **recipe,
        "bank": str(place / "other"),
        "fragment_characters": 900,
        "deduplicate": {"method": method, "memory_gb": memory_gb, "bands": 20, "rows": 6},
    }
    build(other, until="deduplicate", commit_every=2)
    assert head(other) == digest
    filters = Store(other["bank"])["filters"].require().table(["band", "first", "held", "observed_error"]).to_pylist()
    assert len({row["first"] for row in filters}) > 1 or memory_gb == 4.0
    assert sum(row["held"] for row in filters if row["band"] == 0) > 12


def test_shared_keys_that_are_too_many_to_hold_go_through_a_dataset(place, recipe, monkeypatch):
    write(place, texts_of(7, 12))
    build({**recipe, "bank": str(place / "in-hand")}, until="deduplicate")
    monkeypatch.setattr(packs, "IN_HAND", 0)
    monkeypatch.setattr(step, "PACK", 3)
    shape = {"bands": 20, "rows": 6, "memory_gb": 1e-5}
    build({**recipe, "deduplicate": shape}, until="deduplicate", commit_every=2)
    assert head(recipe) == head({"bank": str(place / "in-hand")})
    partials = Store(recipe["bank"])["partials"].require()
    assert partials.version >= 4 and partials.count() == 0
    assert not list((place / "bank" / "partials.lance" / "data").glob("*"))


def head(recipe) -> list:
    """`duplicate_of` and `pairs` as they stand, in key order."""
    store = Store(recipe["bank"])
    documents = store["documents"].require().table(["id", "duplicate_of"]).sort_by("id")
    judged = store["pairs"].require().table(PAIRS.names).sort_by([("document", "ascending"), ("other", "ascending")])
    return [documents.to_pylist(), judged.to_pylist()]


def test_any_way_to_add_the_same_documents_to_a_release_gives_one_digest(place, recipe):
    before, after = texts_of(2, 8), texts_of(3, 14)
    write(place, before)
    build(recipe)
    shutil.copytree(recipe["bank"], place / "copy")
    other = {**recipe, "bank": str(place / "copy"), "fragment_characters": 700}
    write(
        place, {f"late-{name}": text for name, text in (after | {"x.txt": next(iter(before.values())) + " x"}).items()}
    )
    build(recipe)
    build({**other, "deduplicate": {"memory_gb": 1e-6}}, commit_every=1)
    assert mnemic.open_bank(recipe["bank"]).digest() == mnemic.open_bank(other["bank"]).digest()
    assert "late-x.txt" in dropped(recipe)


def test_new_documents_are_not_compared_with_runs_that_no_filter_has_seen_them_in(place, recipe, monkeypatch):
    write(place, texts_of(4, 6))
    build(recipe)
    read, seen = [], step.read_runs
    monkeypatch.setattr(
        step, "read_runs", lambda bands, runs, bounds: read.append(len(runs)) or seen(bands, runs, bounds)
    )
    write(place, {"new.txt": "a text of which nothing was there before " * 4})
    build(recipe)
    runs = len(runs_module.Runs(Store(recipe["bank"])["bands"], None, None).index())
    assert runs > 1 and read and max(read) == 1  # only what is new


def test_a_broken_decision_is_carried_on_pack_by_pack(place, recipe, monkeypatch):
    write(place, texts_of(5, 12))
    build({**recipe, "bank": str(place / "whole")}, until="deduplicate")
    monkeypatch.setattr(step, "PACK", 2)
    decided, decide = [], step.Deduplicate.decide

    def sometimes(self, corpus, pack, chosen, progress):
        if len(decided) == 3:
            decided.append(None)
            raise KeyboardInterrupt
        decided.append(tuple(pack.rows.tolist()))
        return decide(self, corpus, pack, chosen, progress)

    monkeypatch.setattr(step.Deduplicate, "decide", sometimes)
    with pytest.raises(KeyboardInterrupt):
        build(recipe, until="deduplicate", commit_every=1)
    build(recipe, until="deduplicate", commit_every=1)
    done = [rows for rows in decided if rows is not None]
    assert len(done) - len(set(done)) <= 1 and len(done) > 5  # one without pairs is not noted by itself
    assert head(recipe) == head({"bank": str(place / "whole")})


def test_protected_documents_stay_in_a_bank(place, recipe):
    write(place, {"a.txt": text("x"), "LICENSE.txt": text("x"), "b.txt": text("y", "z")})
    build({**recipe, "deduplicate": {"protected_locators": ["LICENSE*"]}})
    assert set(dropped(recipe).values()) == {"LICENSE.txt"} and dropped(recipe).keys() == {"a.txt", "b.txt"}


def test_signatures_of_another_scheme_are_not_compared(place, recipe):
    write(place, texts_of(6, 5))
    build(recipe)
    changed = {**recipe, "signature": {"seed": 7}}
    reasons = {row.step: row.reasons for row in plan(changed).steps}
    assert reasons["signature"] and reasons["deduplicate"]
    build(changed)
    schemes = set(Store(recipe["bank"])["filters"].require().table(["scheme"])["scheme"].to_pylist())
    assert len(schemes) == 1 and "seed 7" in schemes.pop()
    fresh = {**changed, "bank": str(place / "fresh")}
    build(fresh)
    assert mnemic.open_bank(recipe["bank"]).digest() == mnemic.open_bank(fresh["bank"]).digest()
    assert json.loads(json.dumps(mnemic.open_bank(recipe["bank"]).release.counts))["bands"] > 0


def test_the_repetition_of_a_corpus_is_told_in_shares_of_its_text(place, recipe, capsys):
    four, two, one = "a text that is there four times " * 3, "and one of which there are two " * 3, "only once " * 9
    write(place, {f"{n}.txt": four for n in range(4)} | {"x.txt": two, "y.txt": two.upper(), "z.txt": one})
    build(recipe)
    repetition = mnemic.evaluate(recipe["bank"]).repetition
    characters = 4 * len(four) + 2 * len(two) + len(one)
    share = {"1": 4 * len(four) + 2 * len(two), "2": 4 * len(four), "5": 0, "10": 0, "100": 0, "1000": 0}
    assert repetition == {"most": 4, "share_over": pytest.approx({n: part / characters for n, part in share.items()})}
    assert main(["eval", recipe["bank"]]) == 0
    assert "more than once" in capsys.readouterr().out
    write(place, {f"{n}.txt": f"{n} quite another {n} text {n} of six words or more" for n in range(4)})
    (place / "corpus" / "y.txt").unlink()
    build(recipe)
    assert mnemic.evaluate(recipe["bank"]).repetition["most"] == 1


def test_events_that_say_the_same_are_marked_within_a_tenant(place, recipe):
    text = "The writer commits a fragment. The reader opens a release. The builder holds the lease."
    write(place, {"a.txt": text, "b.txt": text.replace("opens", "reads"), "c.txt": "Rivers run to the sea. They do."})
    recipe = {**recipe, "embed": tiny_recipe(place, place / "corpus")["embed"], "cluster": {}}
    recipe |= {"semantic": {"threshold": 0.99999}, "segment": {"method": "unit"}}
    build(recipe)
    events = mnemic.open_bank(recipe["bank"]).table("events", ["id", "text", "same_as", "cluster"]).to_pylist()
    texts = {event["id"]: event["text"] for event in events}
    same = {event["text"]: texts[event["same_as"]] for event in events if event["same_as"]}
    assert same and all(event == original for event, original in same.items())
    assert not build(recipe).steps

    doubled = next(iter(same.values()))
    rows = [{"text": text, "who": "two"} for text in (f"{doubled} Another one said this.", f"{doubled} And this.")]
    (place / "corpus" / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    build({**recipe, "sources": [{**recipe["sources"][0], "tenant_field": "who"}]})
    events = mnemic.open_bank(recipe["bank"]).table("events", ["id", "tenant", "text", "same_as"], "leaf").to_pylist()
    owner = {event["id"]: event["tenant"] for event in events}
    assert all(event["tenant"] == owner[event["same_as"]] for event in events if event["same_as"])
    said_it = [event for event in events if event["text"] == doubled and event["tenant"] == "two"]
    assert [bool(event["same_as"]) for event in said_it].count(False) == 1, "each tenant keeps one of its own"


def test_letters_of_one_template_are_rows_of_the_nearest_whatever_the_order(place, recipe, monkeypatch):
    drawn, body = random.Random(5), [f"w{number}" for number in range(90)]
    letters = [" ".join([*body, *(f"n{drawn.randrange(10**6)}" for _ in range(14))]) for _ in range(70)]
    write(place, {f"{number}.txt": letter for number, letter in enumerate(letters)})
    build(recipe, until="deduplicate")
    counts = (Store(recipe["bank"])["pairs"].require().record or {})["found"]
    rows = Store(recipe["bank"])["pairs"].require().table(["document", "similarity"])
    assert counts["kept"] == 70 and counts["pairs"] == len(rows) and counts["unlisted"] > 500
    assert len(rows) + counts["unlisted"] > 70 * 69 // 3 and len(rows) <= 70 * 40
    monkeypatch.setattr(step, "PACK", 3)
    for name in sorted((place / "corpus").iterdir()):  # the order of reading is that of names
        name.rename(name.with_name(f"{drawn.random()}.txt"))
    for fragment_characters, commit_every in ((700, 1), (5000, 3)):
        other = {**recipe, "bank": str(place / f"other-{commit_every}"), "fragment_characters": fragment_characters}
        build(other, until="deduplicate", commit_every=commit_every)
        results = (Store(other["bank"])["pairs"].require().record or {})["found"]
        assert {**results, "shape": counts["shape"]} == counts
        assert sorted(rows["similarity"].to_pylist()) == sorted(
            Store(other["bank"])["pairs"].require().table(["similarity"])["similarity"].to_pylist()
        )
