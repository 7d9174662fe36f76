"""Kinds of memory: those that are built in, those of other packages, and those that nobody offers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

import mnemic
from mnemic.bank import Bank
from mnemic.dataset.write import append_rows
from mnemic.errors import BankError, ModelError
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import KINDS, MemoryInfo, is_known, kind, kinds

OFFERED = '''
"""A kind of memory of another package: the model's own words, a little surer."""

from dataclasses import dataclass

from mnemic.memories.kinds import MemoryInfo


@dataclass(frozen=True)
class Echo:
    info: MemoryInfo
    module = None

    def enter(self, host, weight):
        return host.mix(self.module, weight)

    def scores(self, rows):
        return None if self.info.config["silent"] else rows.base + 0.01


class EchoKind:
    name, title = "echo", "an echo"

    def described(self, view):
        return [MemoryInfo(f"id-{silent}", name, "echo", config={"silent": silent}, metrics={"weight": 0.5})
                for name, silent in (("echo", False), ("silence", True))]

    def load(self, view, info):
        return Echo(info)

    def lock(self, view, info):
        return {}


KIND = EchoKind()
BROKEN = object()
'''


@pytest.fixture(scope="module")
def bank(tiny, tmp_path_factory):
    return mnemic.open_bank(tiny.copy(tmp_path_factory.mktemp("kinds"))["bank"])


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Installs a package whose entry point of a name has a value."""

    def install(name, value):
        (tmp_path / "echoing.py").write_text(OFFERED)
        info = tmp_path / "echoing-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: echoing\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[mnemic.memories]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "echoing", raising=False)

    return install


def test_each_kind_is_called_what_it_is_registered_as():
    assert [(name, one.name) for name, one in kinds().items()] == [(name, name) for name in KINDS]
    assert len({one.title for one in kinds().values()}) == len(KINDS)


def test_an_unknown_kind_names_the_nearest():
    assert not is_known("mpl")
    with pytest.raises(ModelError, match=r"no kind of memory 'mpl', only mlp, .*, classifier; did you mean 'mlp'\?"):
        kind("mpl")
    with pytest.raises(ModelError, match="install the package that offers it"):
        kind("hippocampus")


def test_a_kind_of_another_package_is_listed_loaded_and_tuned(bank, offer):
    offer("echo", "echoing:KIND")
    opened = Bank(bank.store, bank.release)
    assert [info.name for info in opened.memories()] == ["mlp", "knn", "echo", "silence"]
    assert kind("echo").title == "an echo" and opened.memory("echo").info.kind == "echo"
    weights = opened.tune(["echo", "knn"])
    assert list(weights) == ["echo", "knn"] and 0 < sum(weights.values()) <= 1 + 1e-9
    with pytest.raises(ModelError, match=r"The memory silence acts inside the model.*give a weight for each memory"):
        opened.tune(["silence"])
    evaluation = mnemic.evaluate(opened)
    assert set(evaluation.weights) == {"knn", "mlp", "echo"}, "only a pass of the model can tell of the other"
    assert evaluation.perplexities[0].comparisons["echo"].ratio.value < 1


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("echo", "echoing:MISSING", r"cannot be imported \(AttributeError.*repair or uninstall"),
        ("echo", "echoing:BROKEN", r"has no name, title, described, load, lock; see `Kind`"),
        ("shout", "echoing:KIND", r"'shout' \(echoing:KIND\) calls itself 'echo'"),
    ],
)
def test_a_kind_that_cannot_be_used_is_a_sentence(offer, name, value, sentence):
    offer(name, value)
    with pytest.raises(ModelError, match=sentence):
        kind(name)


@pytest.mark.parametrize(
    ("described", "sentence"),
    [
        ("1 / 0", r"'echo' cannot list the memories of .*ZeroDivisionError"),
        ("[5]", "values that are no MemoryInfo"),
        ("[MemoryInfo('mine', 'mlp', 'echo')]", "a memory 'mlp' of the kind 'mlp' and one of the kind 'echo'"),
    ],
)
def test_a_kind_that_describes_badly_is_a_sentence(bank, offer, tmp_path, described, sentence):
    offer("echo", "echoing:KIND")
    (tmp_path / "echoing.py").write_text(
        "from mnemic.memories.kinds import MemoryInfo\n"
        "class Kind:\n"
        "    name, title = 'echo', 'an echo'\n"
        f"    def described(self, view): return {described}\n"
        "    def load(self, view, info): ...\n"
        "    def lock(self, view, info): return {}\n"
        "KIND = Kind()\n"
    )
    with pytest.raises(ModelError, match=sentence):
        Bank(bank.store, bank.release).memories()


def test_a_built_in_kind_is_not_replaced(offer):
    offer("mlp", "echoing:KIND")
    assert kind("mlp").title == "MLP memory"


def test_a_memory_of_a_kind_that_nobody_offers_is_listed_and_not_loaded(bank):
    dataset = bank.store["memories"]
    row = dataset.require().table(dataset.require().schema.names, "final = true").to_pylist()[0]
    row |= {"id": "later", "name": "later", "kind": "hippocampus"}
    append_rows(dataset, pa.Table.from_pylist([row], schema=dataset.require().schema), dataset.require().schema, {})
    versions = {**bank.release.versions, "memories": dataset.require().version}
    newer = Bank(bank.store, replace(bank.release, versions=versions))
    assert [info.kind for info in newer.memories()] == ["mlp", "hippocampus", "knn"]
    with pytest.raises(BankError, match="of kind 'hippocampus', which this mnemic does not know; update it"):
        newer.memory("later")


def test_a_memory_as_json_is_what_show_prints():
    info = MemoryInfo("i", "mlp", "mlp", "imitate", 2, {"student_layer": 3}, {"weights": "w"}, {"weight": 0.25})
    written = json.loads(json.dumps(info.as_json()))
    assert list(written) == ["id", "name", "kind", "epoch", "config", "lock", "metrics"]
    assert written["config"] == {"student_layer": 3} and written["epoch"] == 2


def test_listing_memories_imports_no_torch(bank):
    code = f"import sys, mnemic; print(len(mnemic.open_bank({bank.path!r}).memories()), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["2", "False"], done.stderr


def test_scores_are_finite_or_say_that_a_token_is_unknown(bank):
    rows = HeldOutRows.read(bank.view)
    for name in ("mlp", "knn"):
        scores = bank.memory(name).scores(rows)
        assert scores.dtype == np.float64 and scores.shape == (len(rows),) and (scores <= 0).all()
        assert np.isfinite(scores).any() and not np.isnan(scores).any()
