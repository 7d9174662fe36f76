"""A cluster that refuses the token, or does not start, is told as such, in one sentence."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ray_cluster import RayCluster
from tiny_bank import tiny_recipe, write_corpus

from mnemic.errors import Unreachable
from pipelines.engine.ray_engine import RayEngine

ray = pytest.importorskip("ray")
ROOT = Path(__file__).parents[3]


def refusing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_refusal_is_a_sentence_about_the_token(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray says of a refused token that it cannot connect, though somebody takes connections there."""
    refusing(monkeypatch, RuntimeError("Failed to connect to Ray cluster\nand more"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{scheme}127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(Unreachable, match="refuses the token of RAY_AUTH_TOKEN") as raised:
            RayEngine(address)._connect()
    assert "\n" not in str(raised.value) and raised.value.__cause__ is raised.value.__context__ is None
    with pytest.raises(Unreachable, match="No Ray cluster answers at"):
        RayEngine(address)._connect()


def test_a_refusal_that_ray_names_is_told_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, ray.exceptions.AuthenticationError("Invalid or missing authentication token\n" * 20))
    with pytest.raises(Unreachable, match="refuses the token of RAY_AUTH_TOKEN"):
        RayEngine("head:6379")._connect()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "auto", "nowhere.invalid:6379", "[::1]:99999999"])
def test_a_cluster_that_is_not_there_is_told_otherwise(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, shown in (
        ("Could not find any running Ray instance\nand more", "Ray instance"),
        ("", "ConnectionError"),
    ):
        refusing(monkeypatch, ConnectionError(words))
        with pytest.raises(Unreachable, match=rf"No Ray cluster answers at .*{shown}"):
            RayEngine(address)._connect()


@pytest.mark.parametrize("error", [Exception("The current node timed out during startup.\n" * 9), RuntimeError()])
def test_a_ray_that_does_not_start_here_is_a_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, error)
    with pytest.raises(
        Unreachable, match=r"Ray does not start on this machine \((The|Runt).*--engine inline"
    ) as raised:
        RayEngine()._connect()
    assert "\n" not in str(raised.value) and raised.value.__cause__ is error


@pytest.mark.slow
def test_a_build_with_another_token_ends_with_the_sentence(tmp_path: Path) -> None:
    import yaml

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus"))))
    with RayCluster(tmp_path, workers=0) as cluster:
        other = {**os.environ, **cluster.environment, "RAY_AUTH_TOKEN": "0" * 64, "PYTHONPATH": str(ROOT)}
        command = [
            sys.executable,
            "-m",
            "mnemic",
            "build",
            str(recipe),
            "--engine",
            "ray",
            "--address",
            cluster.address,
        ]
        done = subprocess.run(command, env=other, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == Unreachable.exit_code, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert "refuses the token of RAY_AUTH_TOKEN. Set the token" in lines[-1] and "Traceback" not in done.stderr
    assert not [line for line in lines if "gcs_client" in line], "Ray's warnings, one a second, are not shown"
