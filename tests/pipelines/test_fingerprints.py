"""Every step of three recipes keeps its fingerprint, so that a bank which is done stays done.

A change here makes every bank of before compute that step again: only a raised `version`, or a new default, may do it.
"""

from pathlib import Path

import pytest
from tiny_bank import EVERYTHING, tiny_recipe, write_corpus

from pipelines import identity
from pipelines.recipe import SHIPPED, load_recipe
from pipelines.sections import BUILT_IN
from pipelines.steps import steps_of

FINGERPRINTS: dict[str, dict[str, str]] = {
    "tiny": {
        "read": "8bcbd848bdc7e754321167eb5db0e897",
        "signature": "87397410fc588c32b00c7c5346aeee52",
        "deduplicate": "0aa4cdca571860c1191adab3f4369756",
        "units": "64c2b11e0743c91e625c04df128ee47c",
        "embed": "3953b6574610a024d7e0e6cfde1d8ce3",
        "segment": "c2ff22256ca8d8876f9e1487bd22f950",
        "cluster": "bd1f11e3f12fc9df88be95a819ab49d9",
        "split": "45a8ccb8b0ea431d8e35d75fbe0ab181",
        "datastore": "cf6c3f18e5e9c4fa561ecd825fabb772",
        "neighbours": "2992988944cd9d86c4757ed0b2a52b27",
        "teacher": "e124ab63dbff5ca29c5f92a02a74620b",
        "imitate": "7ebd6c9b751f451e14cbc6c82ccb218e",
    },
    "everything": {
        "read": "8bcbd848bdc7e754321167eb5db0e897",
        "signature": "87397410fc588c32b00c7c5346aeee52",
        "deduplicate": "0aa4cdca571860c1191adab3f4369756",
        "units": "64c2b11e0743c91e625c04df128ee47c",
        "embed": "3953b6574610a024d7e0e6cfde1d8ce3",
        "surprise": "beb88923e4797d84e481ecdd27a981c0",
        "segment": "936a0f44828dc2eb040730404b2bb177",
        "denoise": "23b1d5249bc63618295ea1e88cdaf91b",
        "cluster": "c9c883b50008f9165f6900b3c61fa8da",
        "semantic": "29f8df454c1c10df80ae1b6eb18a1644",
        "split": "45a8ccb8b0ea431d8e35d75fbe0ab181",
        "datastore": "cf6c3f18e5e9c4fa561ecd825fabb772",
        "neighbours": "2992988944cd9d86c4757ed0b2a52b27",
        "teacher": "e124ab63dbff5ca29c5f92a02a74620b",
        "imitate": "7ebd6c9b751f451e14cbc6c82ccb218e",
        "control": "214ea2e217dc4df34312c8a748005ad4",
        "decode": "c0eee73f3dae36e460e298abab2c274d",
    },
    "conversations": {
        "read": "8bcbd848bdc7e754321167eb5db0e897",
        "signature": "87397410fc588c32b00c7c5346aeee52",
        "deduplicate": "0aa4cdca571860c1191adab3f4369756",
        "units": "64c2b11e0743c91e625c04df128ee47c",
        "embed": "de94d3091b804731fd8e6e3f3adb8859",
        "segment": "dae20b618c9718e9ee295802755e1b7b",
        "cluster": "5346364228e56e01c7a0866ab41ab899",
    },
}


@pytest.fixture(autouse=True)
def nameless_weights(monkeypatch):
    """A model is known by the name of its folder, so that fingerprints do not depend on how torch draws weights."""
    monkeypatch.setattr(identity, "weights_hash", lambda address: f"weights of {Path(address).name}")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("fingerprints")
    return tiny_recipe(root, write_corpus(root / "corpus"))


def fingerprints(recipe):
    return {step.name: step.record.fingerprint for step in steps_of(load_recipe(recipe), "cpu")}


def test_a_recipe_over_tiny_models_keeps_them(tiny):
    assert fingerprints(tiny) == FINGERPRINTS["tiny"]


def test_all_sections_keep_them(tiny):
    assert fingerprints({**tiny, **EVERYTHING}) == FINGERPRINTS["everything"]
    assert set(FINGERPRINTS["everything"]) == {"read", *(section.step_called for section in BUILT_IN)}


def test_a_shipped_recipe_keeps_them():
    assert fingerprints(SHIPPED / "conversations.yaml") == FINGERPRINTS["conversations"]
