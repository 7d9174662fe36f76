"""What all tests share: where they build, with how many threads, and the tiny banks, each built once a run."""

import os

os.environ["MNEMIC_ENGINE"] = "inline"  # where Ray is installed, builds would start it
os.environ["OMP_NUM_THREADS"] = "1"  # of layers this small a second thread makes more work than it does

from collections.abc import Iterator

import pytest


@pytest.fixture
def two_threads() -> Iterator[None]:
    """For tests of work that threads divide."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
