"""The suffix index of a bank whose corpus grows and shrinks: what is built again, and what the index then holds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bank import tiny_recipe

import mnemic
from mnemic.suffixes.contexts import Contexts
from mnemic.suffixes.stored import index_of
from pipelines.steps import suffixes as step

WORDS = ("bank", "lease", "writer", "token", "table", "shard", "suffix", "place")


def text_of(number: int) -> str:
    draw = np.random.default_rng(number)
    return f"Document {number}. " + " ".join(draw.choice(WORDS, 12)) + f" only{number}{number}."


def write(corpus: Path, numbers: Iterable[int], tenant: str = "") -> None:
    (corpus / tenant).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (corpus / tenant / f"{number:03d}.txt").write_text(text_of(number))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return tiny_recipe(root, root / "corpus")


def recipe(models: dict[str, Any], folder: Path, shard_tokens: int = 300, **changes: Any) -> dict[str, Any]:
    named = {name: models[name] for name in ("name", "language_model", "fragment_characters")}
    sources = [{"kind": "folder", "path": str(folder / "corpus")}]
    off = {"units": False, "split": False, "datastore": False}
    bank = {"bank": str(folder / "bank"), "sources": sources, "suffixes": {"shard_tokens": shard_tokens}}
    return {**named, **off, **bank, **changes}


def built(settings: dict[str, Any]) -> Any:
    mnemic.build(settings, device="cpu", engine="inline")
    assert all(step.kind == "done" for step in mnemic.plan(settings, device="cpu").steps)
    return mnemic.open_bank(settings["bank"])


def shards(bank: Any) -> dict[str, set[str]]:
    """Name -> documents of it."""
    documents: dict[str, set[str]] = {}
    for row in bank.table("suffixes", ["shard", "documents"]).to_pylist():
        documents.setdefault(row["shard"], set()).update(row["documents"])
    return documents


def counts(bank: Any, texts: list[str]) -> list[int]:
    tokenizer = mnemic.languagemodel.tokenizer(bank.release.recipe["language_model"])
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    return index_of(bank.view).counts(Contexts.of(ids, None)).tolist()


ASKED = ["bank", " lease writer", " table", "Document 3.", " only55", " only77", "nowhere to be seen"]


def test_a_shard_holds_whole_documents_and_no_more_tokens_than_it_may(models, tmp_path):
    write(tmp_path / "corpus", range(12))
    bank = built(recipe(models, tmp_path))
    lengths = {row["document"]: row["length"] for row in bank.table("tokens", ["document", "length"]).to_pylist()}
    assert len(shards(bank)) > 3 and set().union(*shards(bank).values()) == set(lengths)
    for documents in shards(bank).values():
        assert sum(lengths[one] + 1 for one in documents) <= 300 or len(documents) == 1
    text = [text_of(number) for number in range(12)]
    expected = [sum(one.count(needle) for one in text) for needle in (" only55", "nowhere to be seen")]
    assert counts(bank, [" only55", "nowhere to be seen"]) == expected == [1, 0]


def test_answers_are_those_of_one_shard_in_any_order_of_builds(models, tmp_path):
    answers = []
    for name, limit, orders in (
        ("one", 10**6, [range(12)]),
        ("many", 200, [range(12)]),
        ("grown", 300, [range(7), range(9), range(12)]),
        ("other", 300, [range(5, 12), [0, 1], [2, 3, 4]]),
    ):
        settings = recipe(models, tmp_path / name, limit)
        for numbers in orders:
            write(tmp_path / name / "corpus", numbers)
            bank = built(settings)
        answers.append(counts(bank, ASKED))
    assert answers[0][4] == answers[0][5] == 1 and answers[0][6] == 0
    assert all(one == answers[0] for one in answers)


def test_documents_that_come_are_a_shard_of_their_own_or_take_up_small_ones(models, tmp_path):
    settings = recipe(models, tmp_path, 10**6)
    write(tmp_path / "corpus", range(12))
    first = shards(built(settings))
    write(tmp_path / "corpus", [20])
    second = shards(built(settings))
    assert len(first) == 1 and len(second) == 2 and set(first) < set(second)
    write(tmp_path / "corpus", [21])
    third = shards(built(settings))
    assert len(third) == 2 and set(first) < set(third)
    write(tmp_path / "corpus", range(30, 42))
    assert len(shards(built(settings))) == 1


def test_a_document_that_goes_leaves_no_match_and_its_shard_alone_is_built_again(models, tmp_path):
    settings = recipe(models, tmp_path)
    write(tmp_path / "corpus", range(12))
    bank = built(settings)
    before, ids = shards(bank), bank.table("documents", ["id", "locator"]).to_pylist()
    (gone,) = [row["id"] for row in ids if row["locator"].endswith("005.txt")]
    assert counts(bank, [" only55"]) == [1]
    (tmp_path / "corpus" / "005.txt").unlink()
    bank = built(settings)
    assert counts(bank, [" only55"]) == [0] and gone not in set().union(*shards(bank).values())
    lost = [name for name, documents in before.items() if gone in documents]
    assert set(before) - set(shards(bank)) == set(lost) and len(set(shards(bank)) - set(before)) <= 1


def test_a_document_that_becomes_a_duplicate_leaves_no_second_match(models, tmp_path):
    settings = recipe(models, tmp_path)
    write(tmp_path / "corpus", range(6))
    before = counts(built(settings), ASKED)
    for number in range(6):
        (tmp_path / "corpus" / f"again{number}.txt").write_text(text_of(number))
    assert counts(built(settings), ASKED) == before


def test_nothing_is_left_where_everything_goes(models, tmp_path):
    settings = recipe(models, tmp_path)
    write(tmp_path / "corpus", range(3))
    built(settings)
    for number in range(3):
        (tmp_path / "corpus" / f"{number:03d}.txt").unlink()
    (tmp_path / "corpus" / "empty.txt").write_text("One.")
    bank = built(settings)
    assert counts(bank, ASKED) == [0] * len(ASKED)


def test_the_division_of_the_work_and_its_order_change_nothing(models, tmp_path, monkeypatch):
    digests = []
    for name, work in (
        ("together", lambda items, _: [items]),
        ("alone", lambda items, _: [[one] for one in items[::-1]]),
    ):
        write(tmp_path / name / "corpus", range(10))
        monkeypatch.setattr(step, "_together", work)
        settings = recipe(models, tmp_path / name, 150)
        mnemic.build(settings, device="cpu", engine="inline", commit_every=1)
        (tmp_path / name / "corpus" / "003.txt").unlink()
        write(tmp_path / name / "corpus", range(20, 24))
        digests.append(built(settings).digest()["suffixes"])
    assert digests[0] == digests[1]


def test_another_bound_builds_all_shards_anew_and_anew_does_too(models, tmp_path):
    write(tmp_path / "corpus", range(8))
    bank = built(recipe(models, tmp_path))
    digest, answers = bank.digest()["suffixes"], counts(bank, ASKED)
    mnemic.build(recipe(models, tmp_path), device="cpu", engine="inline", anew=["suffixes"])
    assert built(recipe(models, tmp_path)).digest()["suffixes"] == digest
    bank = built(recipe(models, tmp_path, 10**6))
    assert len(shards(bank)) == 1 and counts(bank, ASKED) == answers


def test_tenants_have_shards_of_their_own(models, tmp_path):
    (tmp_path / "corpus").mkdir()
    lines = [json.dumps({"text": text_of(number), "team": ("one", "other")[number % 2]}) for number in range(8)]
    (tmp_path / "corpus" / "texts.jsonl").write_text("\n".join(lines))
    sources = [{"kind": "folder", "path": str(tmp_path / "corpus"), "tenant_field": "team"}]
    bank = built(recipe(models, tmp_path, 10**6, sources=sources))
    of = {row["id"]: row["tenant"] for row in bank.table("documents", ["id", "tenant"]).to_pylist()}
    tenants = [{of[one] for one in documents} for documents in shards(bank).values()]
    assert sorted(tenants, key=str) == [{"one"}, {"other"}]
    whole, narrow = index_of(bank.view), index_of(bank.view, {"tenant": "one"})
    assert narrow.places < whole.places and {shard.tenant for shard in narrow.shards} == {"one"}
    none = index_of(bank.view, {"tenant": []})
    assert none.places == 0


def test_a_copied_bank_has_the_same_index_elsewhere(models, tmp_path):
    write(tmp_path / "corpus", range(6))
    bank = built(recipe(models, tmp_path))
    moved = mnemic.open_bank(shutil.copytree(bank.path, tmp_path / "moved"))
    assert counts(moved, ASKED) == counts(bank, ASKED)


KILLS = (("before-write", 1), ("before-commit", 2))
MORE_KILLS = [("after-write", 2)]
MORE_KILLS += [(point, passing) for point in ("before-commit", "after-commit") for passing in range(1, 8)]


@pytest.fixture(scope="module")
def grown(models, tmp_path_factory, nursery):
    """A bank whose corpus has changed since it was built, and the digest of its index once it is carried on."""
    place = tmp_path_factory.mktemp("grown")
    write(place / "corpus", range(12))
    settings = recipe(models, place)
    assert nursery.build(settings)[0] == 0
    (place / "corpus" / "004.txt").unlink()
    (place / "corpus" / "007.txt").unlink()
    write(place / "corpus", range(20, 31))
    undisturbed = {**settings, "bank": str(shutil.copytree(settings["bank"], place / "undisturbed"))}
    assert nursery.build(undisturbed)[0] == 0
    return settings, mnemic.open_bank(undisturbed["bank"]).digest()


@pytest.mark.parametrize(
    ("point", "passing"), [*KILLS, *(pytest.param(*kill, marks=pytest.mark.slow) for kill in MORE_KILLS)]
)
def test_killed_while_shards_come_and_go_it_ends_with_the_same(nursery, grown, tmp_path, point, passing):
    settings, digest = grown
    killed = {**settings, "bank": str(shutil.copytree(settings["bank"], tmp_path / "bank"))}
    code = nursery.build(killed, fault=f"suffixes:{point}:{passing}")[0]
    assert code == -9 or (point, passing) not in KILLS
    assert nursery.build(killed)[0] == 0
    bank = mnemic.open_bank(killed["bank"])
    assert bank.digest() == digest
    assert counts(bank, [" only44", " only77", " only2222"]) == [0, 0, 1]
