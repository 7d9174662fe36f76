"""A memory's config is checked against its tensors before anything is made of it."""

from __future__ import annotations

import json
import math
import struct
import time
from typing import Any

import pytest
import torch

from mnemic.errors import ModelError
from mnemic.memories.decoder import DecoderConfig, MemoryDecoder
from mnemic.memories.mlp import MemoryConfig, MLPMemory

MEMORIES = {
    "mlp": lambda: MLPMemory(MemoryConfig(inputs=32, width=32, tokens=8, blocks=2)),
    "entry": lambda: MLPMemory(MemoryConfig(inputs=12, width=16, tokens=8, blocks=1, norm="layer")),
    "decoder": lambda: MemoryDecoder(DecoderConfig(64, 32, 8, 2, 48, 4, 2, 8), torch.arange(8)),
    "heads": lambda: MemoryDecoder(DecoderConfig(64, 36, 8, 1, 48), torch.arange(8)),
}
HOSTILE = [
    *({name: value} for name in ("blocks", "width", "tokens", "inner") for value in (10**9, 10**30, 200_000, -1, 0)),
    *({"blocks": value} for value in (2.0, True, "2", None, [2], math.nan, 2000)),
    {"width": 33},
    {"inputs": 10**9, "vocabulary": 10**9},
    {"surprise": 1},
    {"norm": "batch", "heads": 10**9},
    {"norm": 5, "heads": 3},
    {"norm": None, "head_width": 7},
    {"norm": "layers", "key_value_heads": 0},
    {"norm": "", "rope_theta": math.nan},
    {"norm": [], "norm_epsilon": -1.0},
    {"norm": {}, "rope": {"rope_type": "yarn", "factor": math.inf}},
    {"norm": 1, "rope": {"rope_type": "no such"}},
    {"norm": 0, "positions": 10**30},
    {"norm": True, "rope": [1]},
]


def changed(data: bytes, config: Any = None, header: Any = None) -> bytes:
    """The bytes of a memory with other values in its config or its header."""
    length = struct.unpack("<Q", data[:8])[0]
    entries = json.loads(data[8 : 8 + length])
    metadata = json.loads(entries["__metadata__"]["mnemic"])
    metadata["config"] = config(metadata["config"]) if config else metadata["config"]
    entries["__metadata__"]["mnemic"] = json.dumps(metadata)
    entries |= header(entries) if header else {}
    packed = json.dumps(entries).encode()
    return struct.pack("<Q", len(packed)) + packed + data[8 + length :]


@pytest.fixture(params=MEMORIES)
def memory(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return MEMORIES[request.param]()


def test_the_shapes_are_those_of_the_network(memory: Any) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in memory.state_dict().items()}
    assert type(memory).shapes(memory.config) == shapes
    data = memory.to_bytes()
    assert type(memory).from_bytes(changed(data)).to_bytes() == data
    assert type(memory).from_bytes(memory.bfloat16().to_bytes()).config == memory.config


@pytest.mark.parametrize("values", HOSTILE, ids=str)
def test_a_config_that_does_not_fit_is_refused_at_once(memory: Any, values: dict[str, Any]) -> None:
    own = vars(memory.config)
    fitting = {name: value for name, value in values.items() if name in own or name == "surprise"}
    data, started = memory.to_bytes(), time.process_time()
    with pytest.raises(ModelError, match=r"damaged|no norm called"):
        type(memory).from_bytes(changed(data, lambda config: {**config, **fitting}))
    assert time.process_time() - started < 2


@pytest.mark.parametrize("whole", [None, [], 5, "x", {}, {"width": 32}], ids=str)
def test_a_config_that_is_none_is_refused(memory: Any, whole: Any) -> None:
    with pytest.raises(ModelError, match="build the memory again"):
        type(memory).from_bytes(changed(memory.to_bytes(), lambda config: whole))


def test_a_header_that_lies_is_refused(memory: Any) -> None:
    data = memory.to_bytes()
    for lie in (
        lambda entries: {"head.weight": {**entries["head.weight"], "shape": [10**9, 10**9]}},
        lambda entries: {"head.weight": {**entries["head.weight"], "dtype": "I64"}},
        lambda entries: {"head.weight": 5},
        lambda entries: {"other": entries["head.weight"]},
        lambda entries: {"tokens": {**entries["tokens"], "dtype": "F64"}},
        lambda entries: {"tokens": {**entries["tokens"], "data_offsets": [0, 10**12]}},
    ):
        with pytest.raises(ModelError, match="build the memory again"):
            type(memory).from_bytes(changed(data, header=lie))
    for broken in (struct.pack("<Q", 1 << 62) + data[8:], struct.pack("<Q", 50_000) + b"[" * 50_000, data[:40]):
        with pytest.raises(ModelError, match="build the memory again"):
            type(memory).from_bytes(broken)


@pytest.mark.parametrize("ids", [[7, 6, 5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5, 6, 6], [-1, 1, 2, 3, 4, 5, 6, 7]])
def test_tokens_that_cannot_be_are_told(memory: Any, ids: list[int]) -> None:
    memory.tokens = torch.tensor(ids)
    with pytest.raises(ModelError, match=r"ascending order|its vocabulary does not have"):
        type(memory).from_bytes(memory.to_bytes())


def test_a_decoder_says_no_token_that_it_does_not_read() -> None:
    memory = MEMORIES["decoder"]()
    memory.tokens = torch.tensor([0, 1, 2, 3, 4, 5, 6, 64])
    with pytest.raises(ModelError, match="its vocabulary does not have"):
        MemoryDecoder.from_bytes(memory.to_bytes())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_told(memory: Any, value: float) -> None:
    with torch.no_grad():
        memory.head.weight[3, 5] = value
    with pytest.raises(ModelError, match=r"not all numbers \(head.weight\)"):
        type(memory).from_bytes(memory.to_bytes())
