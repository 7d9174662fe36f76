"""Estimates: of what is not read yet, of what is left, corrected by what came, and by no file that somebody planted."""

import dataclasses
import json
import math
import os
from pathlib import Path

import pytest
from tiny_bank import TinyBank, tiny_recipe, write_corpus

import mnemic
from mnemic.dataset import Store
from pipelines.command.plan import shown
from pipelines.estimate.amounts import Amounts
from pipelines.estimate.build import LEAST_SECONDS, Estimator
from pipelines.estimate.machine import Machine
from pipelines.estimate.pace import LARGEST, STEEPEST, MachinePace, read_pace, write_pace
from pipelines.plan import plan

HOURS = 3600.0


class Quiet(Machine):
    """A machine on which nothing else runs, whatever this one does."""

    crowded = 1.0


@pytest.fixture
def pace_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache" / "pace.json"
    monkeypatch.setenv("MNEMIC_PACE", str(place))
    return place


@pytest.fixture
def quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processors of the shipped rates' machine, with nothing beside."""
    machine = Machine("inline", "cpu", 2, 0.0, 1.0)
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls, *_: machine))


def big_corpus(folder: Path, size: int) -> Path:
    """A file of that many bytes, none of which is on the disk."""
    folder.mkdir()
    with open(folder / "all.txt", "wb") as file:
        file.truncate(size)
    return folder


def test_a_first_plan_knows_seconds_memory_and_disk(tmp_path: Path, quiet_machine: None) -> None:
    planned = plan(tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus")))
    steps = {step.step: step.seconds for step in planned.steps}
    assert all(seconds is not None and seconds > 0 for seconds in steps.values()), steps
    assert planned.cost.seconds == pytest.approx(sum(filter(None, steps.values())) + planned.cost.starting)
    assert 3e8 < planned.cost.memory < 8e9 and 1e5 < planned.cost.disk < 1e8
    assert not planned.cost.warnings and not planned.cost.unknown
    assert "about " in shown(planned) and "by shipped rates" in shown(planned) and "of disk" in shown(planned)


def test_nothing_left_costs_nothing_and_a_document_its_share(
    tiny: TinyBank, tmp_path: Path, quiet_machine: None
) -> None:
    recipe, corpus = tiny.copy_with_corpus(tmp_path)
    assert plan(recipe).cost.seconds == 0.0 and "nothing to do" in shown(plan(recipe))
    (corpus / "alpha" / "new.txt").write_text("A record of a release is written last, and a reader sees it whole.")
    parts = {step.step: step.seconds for step in plan(recipe).steps}
    anew = {step.step: step.seconds for step in plan({**recipe, "bank": str(tmp_path / "other")}).steps}
    assert 0 < parts["embed"] <= anew["embed"] and parts["imitate"] == pytest.approx(anew["imitate"], rel=0.5)


def test_hours_are_warned_of_before_they_begin(tmp_path: Path, quiet_machine: None) -> None:
    corpus = big_corpus(tmp_path / "corpus", 40_000_000_000)
    planned = plan(tiny_recipe(tmp_path, corpus, max_document_bytes=10_000_000))
    assert planned.cost.seconds > HOURS and planned.cost.disk > 4e10
    (warning,) = planned.cost.warnings
    assert "h: " in warning and "--until" in warning
    small = plan(tiny_recipe(tmp_path, big_corpus(tmp_path / "small", 400_000)))
    assert small.cost.seconds < planned.cost.seconds / 100


def test_requests_to_a_language_model_are_warned_of(tmp_path: Path) -> None:
    corpus = big_corpus(tmp_path / "corpus", 6_300_000)
    written = {"server": "http://127.0.0.1:9/v1", "name": "m", "budget": {"calls": 500}}
    planned = plan(tiny_recipe(tmp_path, corpus, written=written))
    warnings = [line for line in planned.cost.warnings if "requests" in line]
    assert len(warnings) == 1 and "calls 500" in warnings[0]
    requests = int(warnings[0].split()[1].replace(",", ""))
    assert 500 < requests < 2000, "6.3 MB in packs of 1,500 tokens"
    assert "warning: about " in shown(planned)


def test_a_build_corrects_the_next_estimate(tmp_path: Path, pace_file: Path) -> None:
    recipe = tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus"))
    events: list = []
    result = mnemic.build(recipe, sinks=[events.append])
    (message,) = [event.message for event in events if event.kind == "estimate"]
    assert message.startswith("about ") and result.expected > 0
    ratios = json.loads(pace_file.read_text())["ratios"]
    assert ratios and all(key.startswith("inline cpu ") for key in ratios)
    assert plan(recipe, bank=tmp_path / "bank-2").cost.learnt
    assert "corpus" not in pace_file.read_text() and "tiny" not in pace_file.read_text()


@pytest.mark.parametrize("engine", ["inline", "ray"])
@pytest.mark.parametrize(("begin", "rest"), [(0.2, 0.5), (1.0, 1.0), (6.0, 3.0), (0.1, 9.0)])
def test_a_machine_of_any_pace_is_known_after_two_builds(
    engine: str, begin: float, rest: float, pace_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step takes ``begin`` times its fixed seconds and ``rest`` times the others; small builds and large ones."""
    monkeypatch.setattr("pipelines.estimate.build.is_compiled", lambda _: True)  # a build that compiles teaches nothing
    store, machine = Store("/nowhere"), Quiet(engine, "cpu", 2, 0.0, 1.0)
    sizes = [Amounts(0.0, 1e4, 30.0, 110.0, 60.0), Amounts(0.0, 5e8, 1.5e6, 5.5e6, 3e6)]
    for size in sizes * 2:
        estimator = Estimator(store, [], machine, {})
        for name in ("embed", "segment", "unknown-to-everybody", "release"):
            work = estimator.work(name, size, 1.0)
            estimator.learn(name, work, begin * work.fixed + rest * work.amount)
        write_pace(estimator.pace)
    estimator = Estimator(store, [], machine, {})
    for size in sizes:
        for name in ("segment", "unknown-to-everybody", "release"):
            work = dataclasses.replace(estimator.work(name, size, 1.0), compiling=0.0)
            actual = begin * work.fixed + rest * work.amount
            if actual >= LEAST_SECONDS:
                assert estimator.seconds(name, work, 0) == pytest.approx(actual, rel=0.3), (name, size)


def test_a_build_without_work_learns_nothing_and_says_nothing(tiny: TinyBank, tmp_path: Path, pace_file: Path) -> None:
    events: list = []
    result = mnemic.build(tiny.copy(tmp_path), sinks=[events.append])
    assert not result.steps and result.expected == 0.0
    assert not pace_file.exists() and "estimate" not in {event.kind for event in events}


def test_a_build_does_not_fail_because_its_forecast_does(
    tmp_path: Path, pace_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.estimate.forecast.Estimator", lambda *_: 1 / 0)
    recipe = tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus"))
    result = mnemic.build(recipe, until="units")
    assert len(result.steps) == 4 and result.expected == 0.0


def test_ratios_are_averaged_and_bounded() -> None:
    pace = MachinePace()
    assert pace.ratio("inline cpu embed") is None
    for _ in range(6):
        pace.learn("inline cpu embed", 10.0, 20.0)
    assert pace.ratio("inline cpu embed") == pytest.approx(2.0)
    pace.learn("inline cpu embed", 10.0, 320.0)
    assert 2.0 < pace.ratio("inline cpu embed") < 8.0, "one outlier of sixteen times moves it by a quarter"
    pace.learn("slow", 1e-9, 1e9)
    assert pace.ratio("slow") == pytest.approx(math.exp(STEEPEST))
    for key, expected, actual in (("a", 0, 1), ("b", 1, 0), ("c\x1b[2J", 1, 1), ("d" * 99, 1, 1)):
        pace.learn(key, expected, actual)
    assert set(pace.ratios) == {"inline cpu embed", "slow"}


def test_the_pace_is_kept_as_it_is(pace_file: Path) -> None:
    pace = MachinePace()
    pace.learn("ray cpu embed", 10.0, 15.0)
    write_pace(pace)
    assert read_pace().ratio("ray cpu embed") == pytest.approx(1.5, rel=1e-3)
    assert [place.name for place in pace_file.parent.iterdir()] == ["pace.json"]


HOSTILE = {
    "nothing": b"",
    "no JSON": b"{'ratios'",
    "no object": b"[1, 2]",
    "another shape": b'{"ratios": [["inline cpu embed", 1]]}',
    "deep": b"[" * 100_000,
    "large": b'{"ratios": {"inline cpu embed": [1.0, 1]}}' + b" " * LARGEST,
    "numbers": b'{"ratios": {"a": [NaN, 1], "b": [1e999, 1], "c": [100, 1], "d": [1, -1]}}',
    "no numbers": b'{"ratios": {"a": [true, 1], "b": ["1", 1], "c": [null, 1], "d": 1}}',
    "names": b'{"ratios": {"\\u001b[2J": [0.1, 1], "": [0.1, 1], "' + b"x" * 500 + b'": [0.1, 1]}}',
    "integers": b'{"ratios": {"a": [1' + b"0" * 400 + b", 1]}}",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_planted_file_is_as_good_as_none(content: bytes, pace_file: Path) -> None:
    pace_file.parent.mkdir()
    pace_file.write_bytes(content)
    assert read_pace().ratios == {}


def test_a_pipe_is_not_waited_for_and_a_folder_is_not_written(pace_file: Path) -> None:
    pace_file.parent.mkdir()
    os.mkfifo(pace_file)
    assert read_pace().ratios == {}
    pace_file.unlink()
    pace_file.mkdir()
    write_pace(MachinePace({"inline cpu embed": (0.1, 1.0)}))
    assert pace_file.is_dir() and list(pace_file.parent.iterdir()) == [pace_file]
