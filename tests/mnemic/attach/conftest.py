"""Tiny models of families that are laid out differently, each with two prompts and a text to remember.

`model` is of two families alone, with nothing attached when a test ends; `ids` are two texts of twelve tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tiny_models import SENTENCES, save_tiny_model

from mnemic import languagemodel
from mnemic.attach import Host, detach

FAMILIES = ["llama", "qwen3", "gemma", "gpt_neox", "gpt2"]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """(model in float32, tokenizer)"""
    return languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("model"), request.param), "float32")


@pytest.fixture
def host(family: tuple[Any, Any]) -> Iterator[Host]:
    entered = Host.of(family[0])
    yield entered
    entered.close()


@pytest.fixture(scope="module")
def prompts(family: tuple[Any, Any]) -> torch.Tensor:
    return torch.tensor([family[1](SENTENCES[i])["input_ids"][:9] for i in (0, 1)])


@pytest.fixture(scope="module")
def text(family: tuple[Any, Any]) -> torch.Tensor:
    return torch.tensor([family[1](SENTENCES[2])["input_ids"][:7]])


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """(model in float32, tokenizer)"""
    return languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("model"), request.param), "float32")


@pytest.fixture
def model(loaded: tuple[Any, Any]) -> Iterator[Any]:
    yield loaded[0]
    detach(loaded[0])


@pytest.fixture(scope="module")
def ids(loaded: tuple[Any, Any]) -> torch.Tensor:
    return torch.tensor([loaded[1](SENTENCES[i])["input_ids"][:12] for i in (0, 1)])
