"""Blocks as bytes, on the shelf, and on the way from a leaf to those that serve it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.blocks.layout import BlockLayout, above, level_of
from mnemic.blocks.routes import serving
from mnemic.descent import leaf_of
from mnemic.errors import ModelError

CONFIG = {"layers": [1, 3], "width": 16, "gated": True, "type": "float32", "rows": [4, 2], "generic": 6}


def layout(**changes):
    return BlockLayout.of_config({**CONFIG, **changes}, "blocks")


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("gated", [True, False])
def test_a_cell_is_one_block_and_back(kind, gated):
    own = layout(type=kind, gated=gated)
    block = torch.randn(2, own.parts, 4, 16, generator=torch.Generator().manual_seed(0))
    block[0, 0, 0] = 0
    cell = own.packed(block)
    assert len(cell) == own.size(4)
    again = own.unpacked(cell, 4, "0")
    if kind == "int8":
        step = block.abs().amax(-1, keepdim=True) / 127
        assert ((again - block).abs() <= step / 2 + 1e-7).all()
    else:
        assert torch.equal(again, block.to(getattr(torch, kind)))
    assert own.packed(again.float()) == cell, "stored once, it stays"
    for damaged in (cell[:-1], cell + b"\0", b""):
        with pytest.raises(ModelError, match="where its config says"):
            own.unpacked(damaged, 4, "0")


def test_numbers_that_are_none_are_refused():
    cell = bytearray(layout().packed(torch.zeros(2, 3, 4, 16)))
    cell[:4] = np.array([np.nan], "<f4").tobytes()
    with pytest.raises(ModelError, match="block 3 has numbers that are none"):
        layout().unpacked(bytes(cell), 4, "3")


@pytest.mark.parametrize(
    "fault",
    [
        {"layers": []},
        {"layers": [3, 1]},
        {"layers": [1, 1]},
        {"layers": "late"},
        {"layers": [-1]},
        {"inner": 0},
        {"inner": "wide"},
        {"width": 0},
        {"width": 1 << 50},
        {"width": True},
        {"rows": [4, -2]},
        {"rows": 4},
        {"gated": 1},
        {"type": "pickle"},
        {"generic": None},
    ],
)
def test_a_config_that_cannot_be_is_refused_before_anything_is_read(fault):
    with pytest.raises(ModelError, match=f"says {next(iter(fault))} .* which cannot be; build the memory again"):
        layout(**fault)


def test_a_config_survives_json():
    assert BlockLayout.of_config(layout().config(), "blocks") == layout()
    assert [layout().rows_of(level) for level in range(4)] == [6, 4, 2, 0]


PATH = st.lists(st.integers(0, 2), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))


@settings(max_examples=100)
@given(PATH, st.sets(PATH, max_size=8), st.sets(PATH, max_size=2), st.booleans())
def test_a_leaf_is_served_by_the_blocks_on_its_way_that_are_not_blocked(leaf, paths, blocked, fallback):
    there = paths | ({"fallback"} if fallback else set())
    way = [leaf[: 2 * level + 1] for level in range(leaf.count(".") + 1)]
    assert list(above(leaf)) == way and level_of(leaf) == len(way)
    closed = any(node in blocked for node in way)
    expected = [
        node for node in way if node in paths and not any(node == one or node.startswith(f"{one}.") for one in blocked)
    ]
    if not expected and not closed and fallback:
        expected = ["fallback"]
    assert list(serving(leaf, there, tuple(blocked))) == expected
    assert serving("", there) == (("fallback",) if fallback else ())
    assert serving("fallback", there) == (("fallback",) if fallback else ())


def test_a_vector_goes_the_way_on_which_the_tree_was_filled(monkeypatch):
    from operators.cluster.tree import Tree

    draw = np.random.default_rng(0)
    names, centroids = [[""]], [draw.normal(size=(1, 4)).astype(np.float32)]
    children = []
    for _ in range(3):
        children.append(np.arange(3 * len(names[-1])).reshape(-1, 3))
        names.append([f"{name}.{child}".strip(".") for name in names[-1] for child in range(3)])
        centroids.append(draw.normal(size=(len(names[-1]), 4)).astype(np.float32))
    tree = Tree(names, centroids, children)
    first = np.cumsum([0, *map(len, names)])
    below = [(first[level + 1] + row).tolist() for level, rows in enumerate(children) for row in rows]
    below += [[] for _ in names[-1]]
    rows = draw.normal(size=(50, 4)).astype(np.float32)
    for stride in (1, 9, 256):
        monkeypatch.setattr("mnemic.descent.STRIDE", stride)
        monkeypatch.setattr("operators.cluster.tree.STRIDE", stride)
        expected = [names[-1][node] for node in tree.descend(rows)[-1]]
        paths = [name for level in names for name in level]
        assert [leaf_of(row, paths, np.concatenate(centroids), below) for row in rows] == expected
