"""The mean of memories that began alike."""

import pytest
import torch

from mnemic.errors import ModelError
from mnemic.memories.average import averaged
from mnemic.memories.mlp import MemoryConfig, MLPMemory


def memory(tokens: list[int], seed: int, width: int = 4) -> MLPMemory:
    torch.manual_seed(seed)
    drawn = MLPMemory(MemoryConfig(width, width, len(tokens), 2), torch.tensor(tokens))
    for parameter in drawn.parameters():
        torch.nn.init.normal_(parameter)
    return drawn


def test_an_average_is_the_mean_of_each_weight_and_of_each_known_row():
    one, other = memory([1, 4, 9], 0), memory([4, 7], 1)
    mean = averaged([one, other])
    assert mean.tokens.tolist() == [1, 4, 7, 9]
    head, rows = mean.head.weight, (one.head.weight, other.head.weight)
    expected = torch.stack([rows[0][0], (rows[0][1] + rows[1][0]) / 2, rows[1][1], rows[0][2]])
    assert torch.allclose(head, expected)
    for name, value in mean.named_parameters():
        if name != "head.weight":
            assert torch.allclose(value, (one.get_parameter(name) + other.get_parameter(name)) / 2), name
    alone = averaged([one, one])
    assert alone.to_bytes() == one.to_bytes()
    with pytest.raises(ModelError, match="different shapes"):
        averaged([one, memory([1], 0, 8)])
