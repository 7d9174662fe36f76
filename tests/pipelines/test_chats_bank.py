"""From an mbox and exports of chats to one bank that can be searched, with speakers, threads, times and tenants."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import chat_exports as exports
import pytest
from chat_exports import FORMATS, word
from tiny_encoder import save_tiny_encoder

import mnemic

KINDS = {"mbox": "mail", "chatgpt": "chatgpt", "slack": "slack", "telegram": "telegram", "whatsapp": "whatsapp"}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("exports")
    sources = []
    for form, kind in KINDS.items():
        (root / form).mkdir()
        FORMATS[form][1](root / form)
        sources.append({"kind": kind, "name": form, "path": str(root / form)})
    return {
        "name": "exports",
        "bank": str(root / "bank"),
        "sources": sources,
        "embed": {"model": str(save_tiny_encoder(root / "encoder")), "dtype": "float32"},
        "deduplicate": {"threshold": 0.99},
        "segment": {"mean_units": 3},
        "cluster": {"min_leaf": 4, "branching": 4},
    }


@pytest.fixture(scope="module")
def bank(recipe: dict[str, Any]) -> Any:
    mnemic.build(recipe, device="cpu")
    return mnemic.open_bank(recipe["bank"])


def test_every_message_is_a_turn_with_speaker_and_time(bank: Any) -> None:
    for form in KINDS:
        turns = bank.table("events", where=f"leaf AND source = '{form}'").to_pylist()
        assert len(turns) == 8 and {row["level"] for row in turns} == {"turn"}, form
        assert all(len(row["speakers"]) == 1 and row["start_time"] is not None for row in turns), form


def test_a_thread_is_found_and_a_tenant_is_a_boundary(bank: Any) -> None:
    hit = next(hit for hit in bank.search(word(4), words=None, k=9, where={"tenant": "general"}) if word(4) in hit.text)
    assert hit.session == f"{exports.BEGIN}.000000" and hit.speakers == ["Ada"]
    letter = next(
        hit for hit in bank.search(word(4), words=None, k=9, where={"tenant": "bakers"}) if word(4) in hit.text
    )
    assert letter.session == "0@example.org" and letter.speakers == ["Ada Lovelace"]
    tenants = {row["tenant"] for row in bank.table("documents", columns=["tenant"]).to_pylist()}
    assert {"bakers", "conversations", "general", "Chat 0 (4711)", "Chat 1 (4712)", "Bakers"} == tenants
    spoken = bank.search(word(1), words=None, k=50, where={"tenant": "Chat 0 (4711)", "speaker": "Bob"})
    assert spoken and all(event.tenant == "Chat 0 (4711)" for event in spoken)


def test_an_unchanged_export_is_free_and_an_edited_one_replaces_its_documents(
    recipe: dict[str, Any], bank: Any, tmp_path: Path
) -> None:
    assert mnemic.plan(recipe).nothing_to_do
    copy = tmp_path / "bank"
    shutil.copytree(recipe["bank"], copy)
    edited = {**recipe, "bank": str(copy)}
    place = Path(recipe["sources"][3]["path"]) / "result.json"
    before = place.read_text()
    try:
        export = json.loads(before)
        export["chats"]["list"][0]["messages"][0]["text"] = "a new sourdough"
        place.write_text(json.dumps(export))
        mnemic.build(edited, device="cpu")
        changed = mnemic.open_bank(copy)
        texts = [row["text"] for row in changed.table("documents", where="source = 'telegram'").to_pylist()]
        assert len(texts) == 2 and any("sourdough" in text for text in texts)
        assert not any(word(0) in text for text in texts)
        others = "source <> 'telegram'"
        ids = {row["id"] for row in changed.table("documents", where=others).to_pylist()}
        assert ids == {row["id"] for row in bank.table("documents", where=others).to_pylist()}
    finally:
        place.write_text(before)
