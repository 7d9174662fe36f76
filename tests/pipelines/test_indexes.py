"""A release brings the indexes of its events up to date, measures them, and says what it measured."""

import pytest
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.dataset import Store
from mnemic.dataset.index import built, plan, search_settings
from pipelines.steps import indexes


@pytest.fixture
def recipe(tmp_path):
    fields = tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus"))
    return {name: value for name, value in fields.items() if name != "language_model"}


def test_a_small_bank_is_searched_exactly_and_says_so(recipe):
    release = mnemic.build(recipe).release
    facts = release.lineage["release"]["indexes"]
    assert facts["vector"] == {"kind": "exact", "rows": release.counts["events"], "recall_at_10": 1.0}
    assert facts["text"]["kind"] == "INVERTED" and facts["text"]["rows"] == release.counts["events"]
    assert {"level", "leaf", "start_time"} <= set(facts)


def test_the_release_holds_the_recall_of_the_settings_that_are_searched_with(recipe, monkeypatch):
    """And a build with nothing to do writes none anew."""
    monkeypatch.setattr(plan, "VECTOR_INDEX_ROWS", 20)
    release = mnemic.build(recipe).release
    facts = release.lineage["release"]["indexes"]["vector"]
    assert facts["kind"] == "IVF_RQ" and facts["rows"] == release.counts["events"]
    assert 0.95 <= facts["recall_at_10"] <= 1.0 and facts["sample"] > 0 and facts["p50_ms"] > 0
    pinned = mnemic.open_bank(recipe["bank"]).dataset("events")
    settings = search_settings(pinned, "vector")
    assert (settings.nprobes, settings.partitions) == (facts["nprobes"], facts["partitions"])

    again = mnemic.build(recipe)
    assert again.release == release and again.steps == ()
    assert Store(recipe["bank"])["events"].require().version == pinned.version


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
