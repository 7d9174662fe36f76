"""What all tests share: where they build, with how many threads, and the tiny banks, each built once a run."""

import os

os.environ["MNEMIC_ENGINE"] = "inline"  # where Ray is installed, builds would start it
os.environ["MNEMIC_PACE"] = "off"  # tiny builds teach this machine nothing
os.environ["OMP_NUM_THREADS"] = "1"  # of layers this small a second thread makes more work than it does

import fcntl
import gc
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from nursery import Nursery
from scripted_server import ScriptedServer
from tiny_bank import EVERY_SECTION, TinyBank
from whole_recipe import whole_recipe

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each of hundreds of processes would compile all sources anew
sys.dont_write_bytecode = False
settings.register_profile("untimed", deadline=None)  # beside other work an example takes any time
settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported for all tests stays, and is millions of objects: the garbage collector never looks at them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture
def two_threads() -> Iterator[None]:
    """For tests of work that threads divide."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Builds and commands in processes that may be killed."""
    with Nursery() as processes:
        yield processes


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyBank]:
    """The bank of `tiny_recipe`, to be read; what changes it works on a copy."""
    yield from _unchanged(TinyBank.build(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="session")
def tiny_full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyBank]:
    """As `tiny`, with every section, so that every step ran and every kind of memory is there."""
    yield from _unchanged(
        _built_once(tmp_path_factory, "tiny-full", lambda root: TinyBank.build(root, **EVERY_SECTION))
    )


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyBank]:
    """The bank of `whole_recipe`, of every step that there is. Nobody answers at its server's address any more."""
    yield from _unchanged(_built_once(tmp_path_factory, "whole", _whole))


def _whole(root: Path) -> TinyBank:
    import mnemic

    with ScriptedServer() as server:
        recipe = whole_recipe(root, server.address, documents=24)
        return TinyBank(recipe, mnemic.build(recipe, device="cpu", engine="inline"))


def _built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], TinyBank]) -> TinyBank:
    """The bank in a folder that the processes of a run share: the first builds it, and the others wait."""
    base = factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    place.mkdir(exist_ok=True)
    recipe = place / "built.json"
    with open(place / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not recipe.exists():
            recipe.write_text(json.dumps(build(place).recipe))
    return TinyBank(json.loads(recipe.read_text()))


def _unchanged(bank: TinyBank) -> Iterator[TinyBank]:
    versions = bank.versions()
    yield bank
    assert bank.versions() == versions, f"a test wrote to the bank {bank.recipe['bank']}, which others read; copy it"
