"""Every step of three recipes keeps its fingerprint, so that a bank which is done stays done.

A change here makes every bank of before compute that step again: only a raised `version`, or a new default, may do it.
"""

from pathlib import Path

import pytest
from tiny_bank import CONTEXT, EVERYTHING, curated, tiny_recipe, write_corpus
from written_bank import WRITTEN

from mnemic import hardware
from pipelines import identity, steps
from pipelines.recipe import SHIPPED, load_recipe
from pipelines.sections import BUILT_IN
from pipelines.steps import steps_of

FINGERPRINTS: dict[str, dict[str, str]] = {
    "tiny": {
        "read": "8bcbd848bdc7e754321167eb5db0e897",
        "signature": "87397410fc588c32b00c7c5346aeee52",
        "deduplicate": "0aa4cdca571860c1191adab3f4369756",
        "units": "3975c86823beacb2d1589268bcca28cb",
        "embed": "0923d10e8b0c4200eb2b030ad5de4f08",
        "segment": "67745845059603eadc5cdbf4cc4369c7",
        "cluster": "3356eb9957444c40389884bc55e1a75e",
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
        "units": "3975c86823beacb2d1589268bcca28cb",
        "embed": "0923d10e8b0c4200eb2b030ad5de4f08",
        "surprise": "77802b85e9d59624f99d157dde748229",
        "segment": "c44286c3675ac547fc48f2837106636f",
        "denoise": "488dd1560e4b7aa4795b282dac1e757c",
        "cluster": "8fa358b6fecb26f71131fe0746dee9bd",
        "semantic": "f7e5e71eb7a9509d5fa980384d800b90",
        "split": "45a8ccb8b0ea431d8e35d75fbe0ab181",
        "contained": "57e639a58700d3f06a44e1d00feaec75",
        "tokens": "05bd0aa1c5243b00c35e060d23bbd125",
        "suffixes": "4565526fc5dc8b3fb603d12e4237d021",
        "datastore": "cf6c3f18e5e9c4fa561ecd825fabb772",
        "neighbours": "2992988944cd9d86c4757ed0b2a52b27",
        "teacher": "e124ab63dbff5ca29c5f92a02a74620b",
        "imitate": "7ebd6c9b751f451e14cbc6c82ccb218e",
        "control": "214ea2e217dc4df34312c8a748005ad4",
        "decode": "c0eee73f3dae36e460e298abab2c274d",
        "blocks": "5a47a6b260b7be75e2e96eceef454280",
        "slots": "5db7280810a50655f22102b0aa976b25",
        "cartridges": "080e1f773c3191406eb7f7a6099d7c6b",
        "memory_tokens": "01eeace2cfa2fa8a50155f1e0f2b7a64",
        "gate": "2da7173cbad8e2ac996ec7cc42e215e9",
        "times": "37d86a8ce1901d13021e9859e8e32597",
        "names": "f88b426d20600e53f740fae522154dcb",
        "timelines": "d1709c2c4069ac58a5f829ec022c2272",
    },
    "curated": {
        "read": "8bcbd848bdc7e754321167eb5db0e897",
        "signature": "87397410fc588c32b00c7c5346aeee52",
        "measure": "495711bf92078a4c8bc86285d353b2df",
        "contamination": "c81e0df857c22ecee1f81122e0ea1ea4",
        "curate": "672c2062c7c335491142cf667af57343",
        "deduplicate": "3190c9adfe1039125cfe432a2a36ce43",
        "edits": "45f8f1c830df5340ac3fc3f634b5d9fd",
    },
    "placed": {
        "read": "8bcbd848bdc7e754321167eb5db0e897",
        "signature": "87397410fc588c32b00c7c5346aeee52",
        "deduplicate": "0aa4cdca571860c1191adab3f4369756",
        "units": "3975c86823beacb2d1589268bcca28cb",
        "context": "1fa5086f917c0c4b9d1c94ac011c2549",
        "embed": "71fb490fdb09ff2b76ad17d073d57b0d",
        "segment": "a5f820e59977ff1aee946282c80d3661",
    },
    "judged": {
        "perplexity": "6a03e115e3affc12bcc5e332c8aa0125",
        "quality": "a272b2c53f86d8c18b0738e2c44d74ac",
        "pii": "ca44d2661e5243b0767897e05d415714",
        "language": "35cbdfe4c6f0c29cd5cb490fae36e79b",
        "curate": "71e887fbf16179375183c127ecd86c79",
    },
    "conversations": {
        "read": "8bcbd848bdc7e754321167eb5db0e897",
        "signature": "87397410fc588c32b00c7c5346aeee52",
        "deduplicate": "0aa4cdca571860c1191adab3f4369756",
        "units": "3975c86823beacb2d1589268bcca28cb",
        "embed": "86631e06896ca8a8571254dfd5419c27",
        "segment": "b476ce65b9fc7c4fe5b31b00216b52e0",
        "cluster": "4f1bea36eb7efb48b5b96f96008e454c",
    },
    "noted": {
        "packs": "efda311742b3f57055682d2382942569",
        "calls": "30be3b503add4a740e1b25c553954077",
        "notes": "8a47e3e4d86f0301c92d0f68798b5975",
        "relations": "034cf4ac9ace68ea92d5b7a2b46f1c4c",
        "note_vectors": "f4a629627ff047a8265962d45111479b",
        "summaries": "e7525135ba1e068f0b617c498cf87ff1",
        "excerpts": "aa888dca6a7fe39adb1caa83d02ffedc",
        "node_excerpts": "2ba7848aa3c944e2b7676d840db7b7dc",
        "node_summaries": "b11c40ff878e018961052ded81a663c1",
    },
}


@pytest.fixture(autouse=True)
def nameless_weights(monkeypatch):
    """A model is known by the name of its folder, so that fingerprints do not depend on how torch draws weights."""
    monkeypatch.setattr(steps, "weights_hash", lambda address: f"weights of {Path(address).name}")
    monkeypatch.setattr(identity, "tokenizer_files_hash", lambda address: f"tokenizer of {Path(address).name}")


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
    of_rules = {*FINGERPRINTS["curated"], *FINGERPRINTS["judged"]} - set(FINGERPRINTS["everything"])
    every = {"read", *(section.step_called for section in BUILT_IN)}
    apart = {"subset", "canaries", "pages", "key_moments", "rewrites", *FINGERPRINTS["placed"], *FINGERPRINTS["noted"]}
    assert set(FINGERPRINTS["everything"]) | of_rules | apart == every


def test_units_that_know_where_they_stand_keep_them(tiny):
    recipe = {name: tiny[name] for name in ("name", "bank", "sources", "fragment_characters", "embed")}
    placed = fingerprints({**recipe, **CONTEXT, "cluster": False})
    assert placed == FINGERPRINTS["placed"]
    assert placed["embed"] != FINGERPRINTS["tiny"]["embed"] and placed["units"] == FINGERPRINTS["tiny"]["units"]


def test_written_memory_keeps_them(tiny):
    names = ("name", "bank", "sources", "fragment_characters", "embed", "cluster")
    noted = fingerprints({**{name: tiny[name] for name in names}, **WRITTEN})
    assert {name: noted[name] for name in FINGERPRINTS["noted"]} == FINGERPRINTS["noted"]
    other = {**WRITTEN["written"], "server": "http://elsewhere/v1", "concurrent": 9, "budget": {"calls": 3}}
    same = fingerprints({**{name: tiny[name] for name in names}, **WRITTEN, "written": other})
    assert same == noted, "where a model is served and how much may be spent changes no answer"


def test_rules_and_what_they_decide_about_keep_them(tiny, tmp_path):
    recipe = {name: tiny[name] for name in ("name", "bank", "sources", "fragment_characters")}
    assert fingerprints({**recipe, **curated(tmp_path, "cut"), "units": False}) == FINGERPRINTS["curated"]


def test_a_subset_changes_what_is_made_of_it_alone(tiny, tmp_path):
    plain, chosen = fingerprints({**tiny, **curated(tmp_path)}), fingerprints({**tiny, **curated(tmp_path, share=0.5)})
    assert chosen.pop("subset") == "0428740273b24da5e093c42b1905eaea"
    assert {step for step in plain if plain[step] != chosen[step]} == OF_THE_DATASTORE


def test_canaries_change_no_other_step(tiny, tmp_path):
    plain = curated(tmp_path, share=0.5)
    planted = {"curate": {**plain["curate"], "canaries": {"count": 2, "tokens": 40}}}
    records = fingerprints({**tiny, **planted})
    assert records.pop("canaries") == "af7a4df0063cdd48a77d7bde6cc9b2cf"
    assert records == fingerprints({**tiny, **plain})


def test_pages_change_no_other_step_and_their_choice_changes_no_page(tiny):
    plain, paged = fingerprints(tiny), fingerprints({**tiny, "pages": {"dtype": "float32"}})
    assert paged.pop("pages") == "4511b964553c416e7161f8a357e0b8b5"
    assert paged == plain
    other = {"dtype": "float32", "which": "tenant = 'team'", "max_gb": 9}
    assert fingerprints({**tiny, "pages": other}) == {**plain, "pages": "4511b964553c416e7161f8a357e0b8b5"}


def test_rewrites_change_no_other_step(tiny):
    plain, edited = fingerprints(tiny), fingerprints({**tiny, "rewrites": {"dataset": "documents", "dtype": "float32"}})
    assert edited.pop("key_moments") == "267339585f319f1e3a6e52e2b5f7abe1"
    assert edited.pop("rewrites") == "dc3c5e8fbc31a20579af7d6320ff4880"
    assert edited == plain


OF_THE_DATASTORE = {"datastore", "neighbours", "teacher", "imitate"}


def test_other_columns_that_rules_read_keep_them(tiny, tmp_path):
    recipe = {name: tiny[name] for name in ("name", "bank", "sources", "fragment_characters")}
    curate = {"curate": {"language": {"keep": ["en", "de"]}, "pii": "mark"}}
    curate["curate"]["quality"] = {"positives": ["alpha"], "negatives": ["length < 100"], "min": 0.5}
    curate["curate"]["rules"] = {"odd": {"value": "perplexity", "max": 1000}}
    surprise = {"model": tiny["language_model"], "dtype": "float32"}
    steps = fingerprints({**recipe, **curate, "surprise": surprise})
    assert {name: steps[name] for name in FINGERPRINTS["judged"]} == FINGERPRINTS["judged"]


def test_a_shipped_recipe_keeps_them(monkeypatch):
    monkeypatch.setattr(hardware, "has_bfloat16", lambda: True)  # `dtype: auto` is part of what is computed
    assert fingerprints(SHIPPED / "conversations.yaml") == FINGERPRINTS["conversations"]
