"""The mean of the weights of memories that began alike: what two trainings have in common, without a third.

Weights of networks that left one start for two data sets often average to a network that has some of both (Wortsman et
al. 2022, arXiv 2203.05482). The heads differ in the tokens that they know: the row of a token is the mean of those that
have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from mnemic.errors import ModelError
from mnemic.memories.student import Student

StudentT = TypeVar("StudentT", bound=Student)

_HEAD = "head.weight"


def averaged(memories: Sequence[StudentT]) -> StudentT:
    """A memory with the mean weights of ``memories``, whose configurations differ in their tokens alone.

    Raises `ModelError` for memories of other shapes.
    """
    first = memories[0]
    if any(type(one) is not type(first) or _shape(one) != _shape(first) for one in memories):
        raise ModelError(
            "The weights of memories of different shapes have no mean; train them with the same settings, or attach "
            "them side by side."
        )
    tokens = torch.unique(torch.cat([one.tokens for one in memories]))
    with torch.random.fork_rng(devices=[]):
        mean = type(first)(replace(first.config, tokens=len(tokens)), tokens)
    states = [one.state_dict() for one in memories]
    weights = {
        name: (sum(state[name].double() for state in states) / len(states)).to(value.dtype)
        for name, value in states[0].items()
        if name not in ("tokens", _HEAD)
    }
    rows = torch.zeros(mean.head.weight.shape, dtype=torch.float64)
    heads = torch.zeros(len(tokens), dtype=torch.float64)
    for one, state in zip(memories, states, strict=True):
        places = torch.searchsorted(tokens, one.tokens)
        rows[places] += state[_HEAD].double()
        heads[places] += 1
    head = (rows / heads[:, None]).to(states[0][_HEAD].dtype)
    mean.load_state_dict({**weights, "tokens": tokens, _HEAD: head})
    return mean.eval()


def _shape(memory: Student) -> object:
    return replace(memory.config, tokens=0)
