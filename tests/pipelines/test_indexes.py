"""A release brings the indexes of its events up to date, measures them, and says what it measured."""

import pytest
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.dataset import Store
from mnemic.dataset.index import built, plan, search_settings
from pipelines.steps import indexes


@pytest.fixture
def recipe(tmp_path):
    made = tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus"))
    return {name: value for name, value in made.items() if name != "language_model"}


def test_a_small_bank_is_searched_exactly_and_says_so(recipe):
    release = mnemic.build(recipe).release
    told = release.lineage["release"]["indexes"]
    assert told["vector"] == {"kind": "exact", "rows": release.counts["events"], "recall_at_10": 1.0}
    assert told["text"]["kind"] == "INVERTED" and told["text"]["rows"] == release.counts["events"]
    assert {"level", "leaf", "start_time"} <= set(told)


def test_the_release_holds_the_recall_of_the_settings_that_are_searched_with(recipe, monkeypatch):
    monkeypatch.setattr(plan, "VECTOR_INDEX_ROWS", 20)
    release = mnemic.build(recipe).release
    told = release.lineage["release"]["indexes"]["vector"]
    assert told["kind"] == "IVF_RQ" and told["rows"] == release.counts["events"]
    assert 0.95 <= told["recall_at_10"] <= 1.0 and told["sample"] > 0 and told["p50_ms"] > 0
    pinned = mnemic.open_bank(recipe["bank"]).dataset("events")
    settings = search_settings(pinned, "vector")
    assert (settings.nprobes, settings.partitions) == (told["nprobes"], told["partitions"])


def test_a_build_that_ran_nothing_writes_nothing(recipe, monkeypatch):
    monkeypatch.setattr(plan, "VECTOR_INDEX_ROWS", 20)
    first = mnemic.build(recipe).release
    version = Store(recipe["bank"])["events"].require().version
    again = mnemic.build(recipe)
    assert again.release == first and again.steps == ()
    assert Store(recipe["bank"])["events"].require().version == version


def test_a_build_killed_before_the_recall_was_measured_measures_it_next(recipe, monkeypatch):
    monkeypatch.setattr(plan, "VECTOR_INDEX_ROWS", 20)

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(indexes, "measure_recall", killed)
        with pytest.raises(KeyboardInterrupt):
            mnemic.build(recipe)
    segments = built(Store(recipe["bank"])["events"].require())["vector"].segments
    release = mnemic.build(recipe).release
    assert release.lineage["release"]["indexes"]["vector"]["recall_at_10"] >= 0.95
    assert built(Store(recipe["bank"])["events"].require())["vector"].segments == segments, "it was not made again"
