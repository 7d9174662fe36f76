"""What all tests share: where they build, with how many threads, and the tiny banks, each built once a run."""

import os

os.environ["MNEMIC_ENGINE"] = "inline"  # where Ray is installed, builds would start it
os.environ["MNEMIC_PACE"] = "off"  # tiny builds teach this machine nothing
os.environ["OMP_NUM_THREADS"] = "1"  # of layers this small a second thread makes more work than it does

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from many_releases import ManyReleases
from nursery import Nursery
from scripted_server import ScriptedServer
from shared_folder import built_once
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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the slow tests a property is tried on a sixth of its examples, and on 12 at least."""
    if "not slow" not in config.option.markexpr:
        return
    for test in {item.obj for item in items if getattr(getattr(item, "obj", None), "is_hypothesis_test", False)}:
        own = test._hypothesis_internal_use_settings
        fewer = min(own.max_examples, max(12, own.max_examples // 6))
        test._hypothesis_internal_use_settings = settings(own, max_examples=fewer)


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
    yield from _unchanged(TinyBank(built_once(tmp_path_factory, "tiny", lambda root: TinyBank.build(root).recipe)))


@pytest.fixture(scope="session")
def tiny_full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyBank]:
    """As `tiny`, with every section, so that every step ran and every kind of memory is there."""
    recipe = built_once(tmp_path_factory, "tiny-full", lambda root: TinyBank.build(root, **EVERY_SECTION).recipe)
    yield from _unchanged(TinyBank(recipe))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyBank]:
    """The bank of `whole_recipe`, of every step that there is. Nobody answers at its server's address any more."""
    yield from _unchanged(TinyBank(built_once(tmp_path_factory, "whole", _whole)))


@pytest.fixture(scope="session")
def months(tmp_path_factory: pytest.TempPathFactory) -> ManyReleases:
    """A bank with four releases, to be copied."""

    def build(root: Path) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
        many = ManyReleases.build(root)
        return many.recipe, many.digests

    recipe, digests = built_once(tmp_path_factory, "months", build)
    return ManyReleases(recipe, Path(recipe["sources"][0]["path"]), digests)


def _whole(root: Path) -> dict[str, Any]:
    import mnemic

    with ScriptedServer() as server:
        recipe = whole_recipe(root, server.address, documents=24)
        mnemic.build(recipe, device="cpu", engine="inline")
    return recipe


def _unchanged(bank: TinyBank) -> Iterator[TinyBank]:
    versions = bank.versions()
    yield bank
    assert bank.versions() == versions, f"a test wrote to the bank {bank.recipe['bank']}, which others read; copy it"
