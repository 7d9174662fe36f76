"""Two hundred kills with Ray: of the build's process, of an actor, of a raylet; `make campaign` shows them.

Every step but those that ask a language model loses each of the three at least once where it hurts (before and after a
write, before and after a commit), and then whole builds lose one of them at random moments. Each bank ends with the
digest of the undisturbed one, without orphans, and with no more work redone than was under way.
"""

import random
from collections import Counter

import pytest
from nursery import Nursery
from test_kill import orphans
from whole_recipe import OTHER_STEPS as STEPS
from whole_recipe import whole_recipe

import mnemic
from mnemic.errors import Unreachable

pytestmark = pytest.mark.slow

SEED = 20261121
RANDOM_KILLS = 12
WORKERS = 2
IN_FLIGHT = 2
COMMIT_EVERY = 1
KILLED = -9
ALLOWED = COMMIT_EVERY + IN_FLIGHT * WORKERS
"""Fragments that one kill may cost: the uncommitted wave, and two for each worker."""


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    place = tmp_path_factory.mktemp("campaign")
    with Nursery() as nursery:
        campaign = Campaign(place, nursery)
        yield campaign
    victims = Counter()
    for (_, victim), count in campaign.kills.items():
        victims[victim] += count
    print(f"\n{sum(victims.values())} kills: {dict(victims)}", flush=True)


class Campaign:
    """The undisturbed bank, and builds of others that are killed."""

    def __init__(self, place, nursery):
        self.place, self.nursery = place, nursery
        self.recipe = whole_recipe(place)
        self.kills = Counter()
        self.builds = 0
        assert self.build("undisturbed") == 0
        self.digest = mnemic.open_bank(str(place / "undisturbed")).digest()
        self.writes = self.written("undisturbed")

    def build(self, bank, fault="", **options):
        """Exit code of a build with Ray; a fault kills at most one process."""
        self.builds += 1
        mark = self.place / f"died-{self.builds}"
        environment = {"MNEMIC_FAULT_LOG": str(self.place / f"{bank}.log"), "MNEMIC_FAULT_ONCE": str(mark)}
        recipe = {**self.recipe, "bank": str(self.place / bank)}
        code, self.seconds = self.nursery.build(
            recipe,
            fault,
            engine="ray",
            workers=WORKERS,
            commit_every=COMMIT_EVERY,
            environment=environment,
            **options,
        )
        self.hit = mark.exists()
        return code

    def kill(self, bank, step, point, victim):
        """One kill at a fault point of a step."""
        code = self.build(bank, f"{step}:{point}" + ("@parent" if victim == "raylet" else ""), until=step)
        exit_code = {"driver": KILLED, "actor": 0, "raylet": Unreachable.exit_code}[victim]
        print(f"{step:<12} {point:<14} {victim:<7} exit {code:>3}  {self.seconds:5.1f} s", flush=True)
        assert self.hit, f"{step}:{point} was not passed"
        assert code == exit_code
        self.kills[step, victim] += 1

    def written(self, bank):
        """How many fragments workers wrote for a bank, over all its builds."""
        return Counter((self.place / f"{bank}.log").read_text().split())

    def check(self, bank, kills):
        assert self.build(bank) == 0
        assert mnemic.open_bank(str(self.place / bank)).digest() == self.digest
        assert orphans(str(self.place / bank)) == 0
        points = [f"{step}:after-write" for step in STEPS]
        redone = sum(self.written(bank)[point] - self.writes[point] for point in points)
        print(f"{bank}: {redone} writes redone after {kills} kills (at most {ALLOWED} a kill)", flush=True)
        assert 0 <= redone <= kills * ALLOWED


def test_killed_before_the_commit_and_around_the_write(campaign):
    for step in STEPS:
        campaign.kill("first", step, "before-commit", "driver")
        campaign.kill("first", step, "before-write", "raylet")
        campaign.kill("first", step, "after-write", "actor")
    campaign.check("first", 3 * len(STEPS))


def test_killed_after_the_write_and_after_the_commit(campaign):
    for step in STEPS:
        campaign.kill("second", step, "after-write", "raylet")
        campaign.kill("second", step, "after-commit", "driver")
    assert campaign.build("second", "release:before-commit") == KILLED
    assert campaign.build("second", "release:after-commit") == KILLED
    campaign.kills["release", "driver"] += 2
    campaign.check("second", 2 * len(STEPS) + 2)


def test_killed_at_random_moments(campaign):
    print(f"seed {SEED}", flush=True)
    draw = random.Random(SEED)
    assert campaign.build("timing") == 0
    seconds = campaign.seconds
    kills = banks = 0
    while kills < RANDOM_KILLS:
        bank, banks, here = f"random-{banks}", banks + 1, 0
        while True:
            victim, after = draw.choice(["driver", "actor", "raylet"]), draw.uniform(0.2, 0.9) * seconds
            code = campaign.build(bank, victim=victim, kill_after=after)
            done = code == 0
            if campaign.nursery.killed:
                kills, here = kills + 1, here + 1
                campaign.kills["random", victim] += 1
            print(f"random       {after:5.1f} s after the start: {victim:<7} exit {code:>3}", flush=True)
            assert code in (0, KILLED, Unreachable.exit_code)
            if done:
                break
        campaign.check(bank, here)
