"""The order of releases is that of their commits: a clock that was ahead once freezes nobody."""

import json
from datetime import UTC, datetime, timedelta

import pytest

import mnemic
from mnemic.command import main
from mnemic.errors import OtherRecipe
from mnemic.release import find_release
from pipelines import release as release_module
from pipelines import run as run_module


@pytest.fixture
def clock(monkeypatch):
    """Set the clock of the builder so many days ahead."""

    def ahead(days):
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.now(tz) + timedelta(days=days)

        monkeypatch.setattr(release_module, "datetime", Clock)
        monkeypatch.setattr(run_module, "datetime", Clock)

    return ahead


def test_a_release_of_a_clock_that_was_ahead_is_followed_by_the_next_one(tiny, tmp_path, clock, capsys):
    recipe, corpus = tiny.copy_with_corpus(tmp_path)
    (corpus / "alpha" / "later.txt").write_text("Glaciers scrape valleys into shapes of letters. " * 8)
    clock(400)
    ahead = mnemic.build(recipe, device="cpu").release
    clock(0)
    assert ahead.created > datetime.now(UTC) + timedelta(days=399)
    assert mnemic.build(recipe, device="cpu").steps == (), "nothing has changed"

    (corpus / "alpha" / "last.txt").write_text("Rivers carry what glaciers leave, down to the sea. " * 8)
    newest = mnemic.build(recipe, device="cpu").release
    assert newest.created < ahead.created and newest.counts["documents"] == ahead.counts["documents"] + 1
    result = mnemic.build(recipe, device="cpu")
    assert result.steps == () and result.release.name == newest.name

    bank = mnemic.open_bank(recipe["bank"])
    assert bank.release.name == newest.name
    names = [release.name for release in bank.releases()]
    assert names[1:] == [ahead.name, newest.name]
    assert find_release(bank.store, ahead.name).counts == ahead.counts
    assert main(["show", recipe["bank"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["releases"] == names


def test_a_bank_belongs_to_the_recipe_that_took_it_last(tiny, tmp_path, clock):
    recipe = tiny.copy(tmp_path)
    other = {**recipe, "name": "other"}
    clock(400)
    mnemic.build(other, replace=True, device="cpu")
    clock(0)
    mnemic.build(recipe, replace=True, device="cpu")
    assert mnemic.build(recipe, device="cpu").steps == ()
    with pytest.raises(OtherRecipe):
        mnemic.build(other, device="cpu")
