"""Rows of datasets that the newest release does not pin go with a removed document as all others do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_bank import TinyBank

import mnemic
from mnemic.dataset import Store


@pytest.fixture
def shorter(tiny: TinyBank, tmp_path: Path) -> dict[str, Any]:
    """The recipe of a copy that was built again without memories: the newest release pins none of their datasets."""
    whole = tiny.copy(tmp_path)
    names = ("name", "bank", "fragment_characters", "sources", "embed", "segment", "cluster")
    recipe = {name: whole[name] for name in names}
    mnemic.build(recipe, device="cpu")
    assert not {"datastore", "memories"} & {*mnemic.open_bank(recipe["bank"]).release.versions}
    return recipe


def test_a_removal_reaches_what_a_section_left_behind(shorter: dict[str, Any]) -> None:
    datastore = Store(shorter["bank"])["datastore"]
    document = datastore.require().table(["document"])["document"][0].as_py()
    mine = f"document = '{document}'"
    before = datastore.require().count(mine)
    assert mnemic.remove(shorter["bank"], ids=[document]).datasets["datastore"] == before > 0
    assert datastore.require().count(mine) == 0 < datastore.require().count()
    assert "datastore" not in mnemic.open_bank(shorter["bank"]).release.versions, "it pins what it pinned"


def test_an_erasure_leaves_no_piece_and_no_parameters_there(shorter: dict[str, Any]) -> None:
    store = Store(shorter["bank"])
    document = store["datastore"].require().table(["document"])["document"][0].as_py()
    assert store["memories"].require().count() > 0
    proof = mnemic.remove(shorter["bank"], ids=[document], erase=True).proof
    assert proof is not None and proof.before > 0 and proof.after == 0
    assert store["memories"].require().count() == 0, "weights that no release pins have learnt it too"
