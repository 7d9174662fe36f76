"""Banks whose units know their titles: built, changed, and searched beside banks that do not."""

import numpy as np
import pyarrow.compute as pc
import pytest
from placed_bank import placed_recipe

import mnemic
from mnemic.dataset.index import built
from mnemic.encoder import TextEncoder
from mnemic.errors import RecipeError
from mnemic.search.documents import PART_SHARE, WORDS
from mnemic.search.fusion import AHEAD, certainty, scaled
from mnemic.vectors import vectors
from operators.context import with_context

TOWNS = ("Kyoto", "Lima", "Oslo", "Tunis", "Quito", "Perth")
NOTES = [
    {"id": town, "title": town, "who": f"t{number % 2}", "text": "It is a town. The market opens early. People sing."}
    for number, town in enumerate(TOWNS)
]
GUIDE = "# Guide\n\nRead this first.\n\n## Trains\n\nThey run at night. Ask for Ada.\n\n## Boats\n\nThey are slow.\n"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = tmp_path_factory.mktemp("context")
    notes = [{**note, "text": f"{note['text']} {number}."} for number, note in enumerate(NOTES)]
    (root / "guide.md").write_text(GUIDE)
    complete = placed_recipe(root, notes, mean_units=2)
    guide = {"kind": "markdown", "name": "guide", "path": str(root / "guide.md")}
    return {**complete, "sources": [*complete["sources"], guide]}


@pytest.fixture(scope="module")
def bank(recipe):
    mnemic.build(recipe, device="cpu", engine="inline")
    return mnemic.open_bank(recipe["bank"])


def test_sources_fill_the_title_and_units_know_where_they_stand(bank):
    titles = bank.table("documents", ["title"])["title"].to_pylist()
    assert sorted(titles) == sorted([*TOWNS, "Guide"])
    unsaid = dict(zip(titles, bank.table("documents", ["unsaid"])["unsaid"].to_pylist(), strict=True))
    assert unsaid == {**{town: town for town in TOWNS}, "Guide": None}, "a text that has its title is heard there"
    rows = {row["text"]: row["context"] for row in bank.table("units", ["text", "context"]).to_pylist()}
    assert rows["They are slow."] == "Guide: Boats" and rows["Ask for Ada."] == "Guide: Trains"
    assert set(bank.table("events", ["title"])["title"].to_pylist()) == {*TOWNS, "Guide"}


def test_a_unit_is_encoded_behind_its_context(bank, recipe):
    rows = bank.table("units", ["text", "context", "embedding"]).combine_chunks()
    texts = with_context(rows.to_batches()[0]).to_pylist()
    expected = TextEncoder.load(recipe["embed"]["model"], "float32", "cpu").encode(texts)
    assert np.abs(vectors(rows["embedding"], np.float32) - expected).max() < 1e-3
    assert any(text.startswith("Kyoto: It is a town.") for text in texts)


def test_the_prefix_is_part_of_the_identity_of_the_vectors(bank, recipe, tmp_path):
    bare = {**{name: recipe[name] for name in recipe if name != "context"}, "bank": str(tmp_path / "bare")}
    mnemic.build(bare, device="cpu", engine="inline")
    other = mnemic.open_bank(bare["bank"])
    assert "title" not in other.dataset("documents").schema.names
    assert "context" not in other.dataset("units").schema.names
    assert not {"title", "unsaid"} & {*built(other.dataset("documents"))}
    first, second = (one.release.lineage["embed"] for one in (bank, other))
    assert first["fingerprint"] != second["fingerprint"] and "context" not in second["reads"]
    assert first["reads"]["context"] == bank.release.lineage["context"]["fingerprint"]


def test_a_bank_that_turns_it_on_says_why_keeps_the_vectors_of_equal_texts_and_is_what_a_fresh_build_makes(
    bank, recipe, tmp_path, monkeypatch
):
    bare = {**{name: recipe[name] for name in recipe if name != "context"}, "bank": str(tmp_path / "grown")}
    mnemic.build(bare, device="cpu", engine="inline")
    grown = {**bare, "context": {}}
    steps = {step.step: step for step in mnemic.plan(grown, device="cpu").steps}
    assert any("titles" in reason for reason in steps["read"].reasons)
    assert steps["embed"].kind == "stale" and "context changed" in steps["embed"].reasons
    texts: list[str] = []
    encode = TextEncoder.encode
    monkeypatch.setattr(TextEncoder, "encode", lambda self, some: (texts.extend(some), encode(self, some))[1])
    mnemic.build(grown, device="cpu", engine="inline")
    assert texts and "# Guide" not in texts
    after = mnemic.open_bank(grown["bank"])
    assert after.digest() == bank.digest()
    assert all(step.kind == "done" for step in mnemic.plan(grown, device="cpu").steps)
    mnemic.build(bare, device="cpu", engine="inline")
    assert "context" not in mnemic.open_bank(grown["bank"]).release.lineage


def test_any_size_of_fragments_gives_the_same_bank(bank, recipe, tmp_path):
    other = {**recipe, "bank": str(tmp_path / "small"), "fragment_characters": 60}
    mnemic.build(other, device="cpu", engine="inline")
    assert mnemic.open_bank(other["bank"]).digest() == bank.digest()


def test_a_bank_without_any_title_or_heading_is_searched_as_one_without_the_section(recipe, tmp_path):
    (tmp_path / "texts").mkdir()
    for number, town in enumerate(TOWNS):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"{town} is a town. It rains {'often ' * number}there.")
    bare = {
        **{name: recipe[name] for name in ("deduplicate", "embed", "segment", "cluster")},
        "name": "bare",
        "bank": str(tmp_path / "bare"),
        "sources": [{"kind": "folder", "path": str(tmp_path / "texts")}],
    }
    placed = {**bare, "bank": str(tmp_path / "placed"), "context": {}}
    for one in (bare, placed):
        mnemic.build(one, device="cpu", engine="inline")
    first, second = (mnemic.open_bank(one["bank"]) for one in (bare, placed))
    assert second.table("units", ["context"])["context"].unique().to_pylist() == [""]
    for level in (None, "event"):
        answers = [one.search("rain in Oslo", words=40, level=level) for one in (first, second)]
        one, other = ([(hit.id, hit.score, hit.reason) for hit in hits] for hits in answers)
        assert one and one == other


def test_a_title_is_heard_where_the_text_does_not_say_it(bank):
    for level in (None, "session"):
        results = bank.search("Quito", words=None, k=1, level=level)
        assert results[0].metadata["title"] == "Quito"
    [whole] = bank.search("Quito", words=None, k=1, level="session")
    assert whole.title_bm25 and whole.bm25 is None and "words of its title: rank 1" in whole.reason
    assert whole.part_similarity is None, "its parts are most of it"


@pytest.mark.parametrize("query", ["the market of Lima", "a boat or a train at night, ask Ada", "Oslo"])
def test_whole_documents_are_ranked_by_the_definition(bank, query):
    """Every session scored by hand: cosines of all vectors, and the scores that a search for words alone gives."""
    hits = bank.search(query, words=None, k=50, level="session", links=False)
    [vector] = bank.encoder.encode_queries([query])
    names = ["id", "document", "level", "leaf", "vector", "first_unit", "end_unit"]
    rows = bank.table("events", names).combine_chunks()
    cosines = vectors(rows["vector"], np.float64) @ (vector.astype(np.float64) / np.linalg.norm(vector))
    sessions = np.flatnonzero(pc.equal(rows["level"], "session").to_numpy(zero_copy_only=False))
    document, leaf = np.array(rows["document"].to_pylist()), np.array(rows["leaf"].to_pylist())
    units = rows["end_unit"].to_numpy() - rows["first_unit"].to_numpy()
    parts = [(document == document[row]) & leaf & (units <= units[row] * PART_SHARE) for row in sessions]
    best = np.array([cosines[part].max(initial=-1.0) for part in parts])
    by_id = {hit.id: hit for hit in hits}
    ids = [rows["id"][int(row)].as_py() for row in sessions]
    assert set(by_id) == set(ids)
    words = np.array([(by_id[one].bm25 or 0.0) + (by_id[one].title_bm25 or 0.0) for one in ids])
    meaning = cosines[sessions] + np.maximum(best, cosines[sessions])
    expected = np.zeros(len(ids))
    for scores, weight in ((meaning, 1.0), (words, WORDS)):
        share = (scores - scores.min()) / (scores.max() - scores.min()) if scores.max() > scores.min() else 0 * scores
        expected += weight * min((1 - share.mean()) / AHEAD, 1.0) ** 3 * share
    assert [by_id[one].score for one in ids] == pytest.approx(expected, abs=1e-5)
    assert [by_id[one].similarity for one in ids] == pytest.approx(cosines[sessions], abs=1e-5)


def test_a_tenant_sees_its_own_titles_alone(bank):
    for level in (None, "session", "event"):
        for number in (0, 1):
            hits = bank.search("Kyoto Lima Oslo Tunis", words=None, k=40, level=level, where={"tenant": f"t{number}"})
            assert hits and {hit.tenant for hit in hits} == {f"t{number}"}


def test_a_title_column_of_another_type_is_refused_with_the_way_out(recipe):
    notes = {**recipe["sources"][0], "columns": {"title": "list"}}
    with pytest.raises(RecipeError, match="name that column otherwise"):
        mnemic.plan({**recipe, "sources": [notes]})


def test_scores_are_scaled_between_the_last_of_the_pool_and_the_best():
    scores = np.array([3.0, np.nan, 1.0, 2.0, 0.5])
    assert scaled(scores, 3).tolist() == [1.0, 0.0, 0.0, 0.5, 0.0]
    assert scaled(scores, 200).tolist() == pytest.approx([1.0, 0.0, 0.2, 0.6, 0.0])
    assert scaled(np.array([2.0, 2.0]), 5).tolist() == [0.0, 0.0] and scaled(np.array([np.nan]), 5).tolist() == [0.0]


def test_a_signal_counts_by_how_far_its_best_is_ahead_of_the_others():
    alone, halves = np.array([1.0] + [0.0] * 9), np.array([1.0] + [0.5] * 8 + [0.0])
    assert certainty(alone, 200) == 1.0 and certainty(7 + 3 * alone, 200) == 1.0
    assert certainty(halves, 200) == pytest.approx((0.5 / AHEAD) ** 3)
    assert certainty(halves, 2) == pytest.approx((0.5 / AHEAD) ** 3), "of the two best one has all, the other nothing"
    assert certainty(np.append(halves, [np.nan] * 50), 200) == certainty(halves, 200)
    assert certainty(np.array([np.nan]), 5) == certainty(np.empty(0), 5) == 1.0
    draw = np.random.default_rng(5)
    for _ in range(50):
        scores = draw.standard_normal(draw.integers(1, 40))
        assert 0.0 <= certainty(scores, 10) <= 1.0
        assert certainty(draw.permutation(scores), 10) == pytest.approx(certainty(scores, 10), abs=1e-12)
