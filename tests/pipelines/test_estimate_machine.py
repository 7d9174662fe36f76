"""The speed of a processor: of this thread alone, the best of the last weeks, and for each kind of step its own."""

import json
import os
import time
from pathlib import Path

import pytest

from mnemic.compiled import is_compiled
from mnemic.dataset import Store
from pipelines.estimate import build
from pipelines.estimate.amounts import Amounts
from pipelines.estimate.build import Estimator
from pipelines.estimate.machine import PROBES, Machine, probe_seconds, slowness
from pipelines.estimate.pace import PROBED_DAYS, MachinePace, read_pace, write_pace
from pipelines.estimate.rates import KERNELS, RATES
from pipelines.recipe import load_recipe
from pipelines.steps import steps_of

TODAY = time.time() // 86400

DEMO = Amounts(0.0, 3e6, 5_772.0, 26_366.0, 11_427.0)
DEMO_SECONDS = {"embed": 119.1, "segment": 5.5, "datastore": 251.6, "neighbours": 8.7, "imitate": 83.2, "gate": 164.6}
"""By the clock, of a whole demo on two processors of an Intel Xeon (Ice Lake) without bfloat16, with Ray."""


@pytest.fixture
def pace_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "pace.json"
    monkeypatch.setenv("MNEMIC_PACE", str(place))
    return place


def test_the_best_probe_of_the_last_weeks_is_believed() -> None:
    pace = MachinePace()
    assert pace.probe("packing x", 2.0) == 2.0
    assert pace.probe("packing x", 3.0) == pytest.approx(2.0), "something ran beside it"
    assert pace.probe("packing x", 1.5) == 1.5 and pace.probe("packing x", 2.0) == pytest.approx(1.5)
    assert pace.probe("packing y", 4.0) == 4.0, "another processor"
    for day in (TODAY - PROBED_DAYS - 1, TODAY + 5):
        pace = MachinePace({}, {"packing x": (0.0, day)})
        assert pace.probe("packing x", 3.0) == 3.0 and pace.probes["packing x"][1] == TODAY, "too old, or not yet"


def test_a_processor_is_timed_once_and_remembered(pace_file: Path) -> None:
    probe_seconds.cache_clear()
    started = time.process_time()
    first = slowness()
    assert 0 < time.process_time() - started < 1.0
    probes = json.loads(pace_file.read_text())["probes"]
    assert sorted(key.split()[0] for key in probes) == sorted(PROBES)
    assert all(one <= other * 1.001 for one, other in zip(slowness(), first, strict=True))
    faster = {key: [-0.5, TODAY] for key in probes}
    pace_file.write_text(json.dumps({"probes": faster}))
    assert slowness() == pytest.approx((0.6065, 0.6065), abs=1e-3)
    before = pace_file.read_text()
    slowness()
    assert pace_file.read_text() == before, "nothing better is nothing to write"


def test_planted_probes_are_bounded(pace_file: Path) -> None:
    assert slowness()
    keys = list(json.loads(pace_file.read_text())["probes"])
    pace_file.write_text(json.dumps({"probes": {key: [-3.9, TODAY] for key in keys}}))
    assert slowness() == (0.25, 0.25)
    for pair in ([-1e9, TODAY], ["a", 1], [None], [float("nan"), TODAY]):
        pace_file.write_text(json.dumps({"probes": dict.fromkeys(keys, pair)}))
        assert read_pace().probes == {}


def test_probes_and_ratios_are_kept_side_by_side(pace_file: Path) -> None:
    pace = MachinePace()
    pace.learn("inline cpu embed", 1.0, 2.0)
    pace.probe("packing x", 1.25)
    write_pace(pace)
    assert set(read_pace().ratios) == {"inline cpu embed"} and set(read_pace().probes) == {"packing x"}


def test_a_first_estimate_scales_with_the_kind_of_the_work() -> None:
    size = Amounts(1e7, 1e7, 2e4, 1e5, 6e4)

    def seconds(machine: Machine) -> dict[str, float]:
        estimator = Estimator(Store("/nowhere"), [], machine, {})
        works = {name: estimator.work(name, size, 1.0) for name in ("embed", "segment")}
        fixed = {name: work.fixed + work.compiling for name, work in works.items()}
        expected = {name: estimator.seconds(name, work, 0) for name, work in works.items()}
        return {name: value - machine.slowness * fixed[name] for name, value in expected.items() if value is not None}

    like = seconds(Machine("inline", "cpu", 2, 0.0, 1.0, 1.0))
    other = seconds(Machine("inline", "cpu", 2, 0.0, 2.0, 3.0))
    assert other["segment"] == pytest.approx(2 * like["segment"])
    assert other["embed"] == pytest.approx(3 * like["embed"])
    on_a_gpu = seconds(Machine("inline", "cuda", 2, 0.0, 2.0, 3.0))
    assert on_a_gpu["embed"] < like["embed"], "a processor's matrices say nothing of a GPU's"


def test_each_step_compiles_functions_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bank without candidate pairs never compiles their judge, whatever else of deduplication it does."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    judge, segment = KERNELS["deduplicate"], KERNELS["segment"]
    index = tmp_path / "deduplicate_3f2a" / "judge._judge-93.py311.nbi"
    index.parent.mkdir()
    assert not is_compiled(judge)
    index.touch()
    assert is_compiled(judge) and not is_compiled(segment)
    os.utime(index, (0, 0))
    assert not is_compiled(judge), "its file has changed since"
    estimator = Estimator(Store("/nowhere"), [], Machine("inline", "cpu", 2, 0.0, 1.0), {})
    assert estimator.work("deduplicate", Amounts(), 1.0).compiling == RATES["deduplicate"].compiling
    index.touch()
    assert estimator.work("deduplicate", Amounts(), 1.0).compiling == 0.0


def test_every_kernel_is_a_module_that_compiles() -> None:
    root = Path(__file__).parent.parent.parent
    assert set(KERNELS) == {name for name, rate in RATES.items() if rate.compiling}
    for name, module in KERNELS.items():
        assert "@compiled" in root.joinpath(*module.split(".")).with_suffix(".py").read_text(), name


def test_a_step_that_has_little_to_do_compiles_nothing() -> None:
    """Units of a small corpus are cut by a regular expression, in less time than compiling its rules takes."""
    rate = RATES["units"]
    assert 0 < rate.first(1e6) < 0.5 < rate.compiling == rate.first(1e9)
    assert RATES["segment"].first(1.0) == RATES["segment"].compiling > 0


@pytest.mark.slow
def test_a_demo_without_bfloat16_takes_what_is_expected(
    tmp_path: Path, pace_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "has_bfloat16", lambda: False)
    monkeypatch.setattr(build, "is_compiled", lambda module: True)
    machine = Machine("ray", "cpu", 2, 0.0, 1.24, 1.54)  # as it was probed there
    estimator = Estimator(Store(tmp_path), steps_of(load_recipe("demo"), "cpu"), machine, {})
    seconds = {name: estimator.seconds(name, estimator.work(name, DEMO, 1.0), 1.0) for name in DEMO_SECONDS}
    for name, measured in DEMO_SECONDS.items():
        assert measured / 2 < (seconds[name] or 0.0) < measured * 2, name
    assert sum(filter(None, seconds.values())) == pytest.approx(sum(DEMO_SECONDS.values()), rel=0.3)
