"""What all tests share: where they build, with how many threads, and the tiny banks, each built once a run."""

import os

os.environ["MNEMIC_ENGINE"] = "inline"  # where Ray is installed, builds would start it
os.environ["MNEMIC_PACE"] = "off"  # tiny builds teach this machine nothing
os.environ["OMP_NUM_THREADS"] = "1"  # of layers this small a second thread makes more work than it does

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from tiny_bank import EVERY_SECTION, TinyBank

settings.register_profile("untimed", deadline=None)  # beside other work an example takes any time
settings.load_profile("untimed")


@pytest.fixture
def two_threads() -> Iterator[None]:
    """For tests of work that threads divide."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyBank]:
    """The bank of `tiny_recipe`, to be read; what changes it works on a copy."""
    yield from _built_once(tmp_path_factory, "tiny")


@pytest.fixture(scope="session")
def tiny_full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyBank]:
    """As `tiny`, with every section, so that every step ran and every kind of memory is there."""
    yield from _built_once(tmp_path_factory, "tiny-full", **EVERY_SECTION)


def _built_once(factory: pytest.TempPathFactory, name: str, **sections: Any) -> Iterator[TinyBank]:
    bank = TinyBank.build(factory.mktemp(name), **sections)
    versions = bank.versions()
    yield bank
    assert bank.versions() == versions, f"a test wrote to the bank `{name}`, which others read: let it copy the bank"
