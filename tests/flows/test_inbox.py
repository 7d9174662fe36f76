"""What was remembered is consolidated where it is worth a build, and else nothing is begun."""

from pathlib import Path

import pytest
import yaml
from tiny_bank import TinyBank

import mnemic
from flows.inbox import consolidate

SHIPPED = Path(__file__).parent.parent.parent / "deploy" / "prefect.yaml"
SECTIONS = ("name", "bank", "sources", "fragment_characters", "embed", "segment", "cluster")


def test_the_shipped_deployment_looks_often_and_never_twice_at_once():
    build, _, inbox = yaml.safe_load(SHIPPED.read_text())["deployments"]
    assert inbox["entrypoint"] == "flows.inbox.consolidate" and inbox["concurrency_limit"]["limit"] == 1
    assert inbox["parameters"]["recipe"] == build["parameters"]["recipe"]
    assert inbox["parameters"]["bank"] == build["parameters"]["bank"]
    assert set(inbox["parameters"]) <= set(consolidate.parameters.properties)


@pytest.mark.slow
def test_it_builds_where_enough_waits(client, tmp_path):
    recipe = TinyBank.build(tmp_path, SECTIONS).recipe
    releases = len(mnemic.open_bank(recipe["bank"]).releases())

    def run(**parameters):
        state = consolidate(recipe, engine="inline", return_state=True, **parameters)
        assert state.is_completed(), state.message
        return state.message

    absent = str(tmp_path / "absent")
    assert consolidate(recipe, bank=absent, return_state=True).message.startswith(f"{absent} does not exist.")
    assert "nothing to build" in run()
    mnemic.open_bank(recipe["bank"]).remember("Zebras graze beside the observatory.")
    assert "nothing to build" in run(least=2)
    assert "1 remembered texts were taken in: release" in run()
    bank = mnemic.open_bank(recipe["bank"])
    assert len(bank.releases()) == releases + 1 and not bank.inbox()
    assert "nothing to build" in run()
