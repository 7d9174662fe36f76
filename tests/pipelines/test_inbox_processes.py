"""Processes remember while builds run, and both are killed: no row is lost, and none is there twice."""

import random
import time
from collections import Counter

import pytest
from nursery import Nursery
from remembering_process import Rememberer, text_of
from tiny_bank import TinyBank

import mnemic

SECTIONS = ("name", "bank", "sources", "fragment_characters", "embed", "segment", "cluster")
SEED = 20261130


@pytest.fixture
def recipe(tmp_path):
    return TinyBank.build(tmp_path, SECTIONS).recipe


def until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.05)


def check(recipe, writers):
    """Every call that was answered is in one document, and what was begun and not answered is in one at most."""
    bank = mnemic.open_bank(recipe["bank"])
    assert not bank.inbox()
    table = bank.table("documents", ["tenant", "text", "turns"], "source = 'inbox'").to_pylist()
    counts = Counter((row["tenant"], row["text"]) for row in table)
    assert not [row for row, count in counts.items() if count > 1], "a row is there twice"
    turns = {row["turns"][0]["id"] for row in table}
    rows = 0
    for writer in writers:
        done, begun = writer.rows("done"), writer.rows("try")
        assert {*done.values()} <= turns, f"{writer.tenant} lost a row"
        mine = {text for tenant, text in counts if tenant == writer.tenant}
        assert mine <= {f"{writer.tenant}: {text_of(writer.tenant, number)}" for number in begun}
        assert len(mine) >= len(done) and not writer.rows("bad"), writer.rows("bad")
        rows += len(done)
    return rows


@pytest.mark.slow
def test_two_processes_remember_while_a_build_is_killed(recipe, tmp_path):
    with Nursery() as nursery:
        writers = [Rememberer(recipe["bank"], name, tmp_path, 0.05, searches=False) for name in ("ada", "bob")]
        until(lambda: all(writer.rows("done") for writer in writers))
        writers[0].kill()
        assert nursery.build(recipe, fault="read:after-commit:2")[0] == -9
        writers[0].begin()
        until(lambda: len(writers[0].rows("done")) >= 3)
        for writer in writers:
            writer.end()
        assert nursery.build(recipe)[0] == 0
    assert check(recipe, writers) >= 4


@pytest.mark.slow
def test_eight_processes_remember_during_ten_builds_and_all_are_killed(recipe, tmp_path, capsys):
    draw = random.Random(SEED)
    points = [f"read:{point}:{passing}" for point in ("before-commit", "after-commit") for passing in (1, 2, 3)]
    points += ["units:after-write", "embed:before-commit", "release:before-commit", "release:after-commit"]
    kills = builds = 0
    with Nursery() as nursery:
        writers = [Rememberer(recipe["bank"], f"w{number}", tmp_path, 1.0) for number in range(8)]
        for build in range(10):
            for writer in draw.sample(writers, 2):
                writer.kill()
                writer.begin()
            moment = {"kill_after": draw.uniform(1.0, 6.0)} if build % 3 == 0 else {"fault": draw.choice(points)}
            if build % 5 != 4:
                kills += nursery.build(recipe, **moment)[0] == -9
            else:
                builds += nursery.build(recipe)[0] == 0
        for writer in writers:
            writer.end()
        assert nursery.build(recipe)[0] == 0
    rows = check(recipe, writers)
    with capsys.disabled():
        print(f"\n{rows} rows by 8 processes, {kills} of 10 builds killed, {builds} to their end; 20 writers killed")
    assert kills >= 4 and builds == 2 and rows >= 80
