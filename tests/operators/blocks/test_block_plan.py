"""Which nodes have blocks, of how many rows, and how documents are packed, against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError, StepError
from operators.blocks.operator import TrainBlocks
from operators.blocks.packing import packed
from operators.blocks.plan import chosen_layers, in_fallback, nodes_with_blocks, path_of, rows_by_level, subtrees

LEAF = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))


@settings(max_examples=50)
@given(st.dictionaries(LEAF, st.integers(1, 100), max_size=12), st.integers(1, 120))
def test_a_node_has_a_block_if_its_leaves_have_enough_text_together(tokens, least):
    rows = (8, 0, 2)
    nodes = nodes_with_blocks(tokens, rows, least)
    every = {leaf[: 2 * depth - 1] for leaf in tokens for depth in range(1, leaf.count(".") + 2)}
    expected = {}
    for node in every:
        total = sum(count for leaf, count in tokens.items() if leaf == node or leaf.startswith(f"{node}."))
        if total >= least and rows[node.count(".")]:
            expected[node] = rows[node.count(".")]
    assert nodes == expected
    jobs = subtrees(nodes)
    assert {node: own for blocks in jobs.values() for node, own in blocks.items()} == nodes
    for leaf in tokens:
        way = path_of(leaf, leaf[0], jobs.get(leaf[0], {}))
        assert way == tuple(node for node in sorted(nodes, key=len) if leaf == node or leaf.startswith(f"{node}."))
        assert path_of(leaf, "control", {"control": 10}) == ("control",)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 25), max_size=20), st.integers(2, 11))
def test_packing_keeps_every_part_of_every_document_once(sizes, length):
    documents = [np.arange(size, dtype=np.int32) + 100 * number for number, size in enumerate(sizes)]
    by_path = {("0",): documents[::2], ("1", "1.0"): documents[1::2]}
    sequences = packed(by_path, length)
    parts = []
    for row, number, path in zip(sequences.tokens, sequences.part, sequences.paths, strict=True):
        for part in range(number.max() + 1):
            place = np.flatnonzero(number == part)
            assert np.array_equal(place, np.arange(place[0], place[-1] + 1)), "a part is contiguous"
            parts.append((path, tuple(row[place])))
    expected = [
        (path, tuple(row[begin : begin + length]))
        for path, rows in by_path.items()
        for row in rows
        for begin in range(0, len(row), length)
        if len(row) - begin > 1
    ]
    assert sorted(parts) == sorted(expected)
    attended, places = sequences.attended(np.arange(len(sequences))), sequences.places
    for index, number in enumerate(sequences.part):
        for query in range(length):
            for key in range(length):
                assert attended[index, 0, query, key] == (number[query] == number[key] and key <= query)
            if number[query] >= 0:
                assert places[index, query] == query - np.flatnonzero(number == number[query])[0]
    predicted = sum(len(part) - 1 for _, part in expected)
    assert sequences.predicting.sum() == predicted


def test_rows_follow_a_budget_of_the_models_parameters():
    auto = TrainBlocks(budget=0.1)
    rows = rows_by_level(auto, 3, 134_000_000, 3 * 10 * 576)
    assert rows == (584, 144, 32)
    assert 0.09 < sum(rows) * 3 * 10 * 576 / 134_000_000 <= 0.1
    assert rows_by_level(TrainBlocks(rows=(256, 64, 16)), 2, 1, 1) == (256, 64)
    assert rows_by_level(auto, 0, 1, 1) == ()


def test_layers_are_late_uniform_or_listed():
    assert chosen_layers("late", 30) == tuple(range(20, 30))
    assert chosen_layers("late", 4) == (2, 3)
    assert chosen_layers("uniform", 3) == (0, 1, 2)
    assert chosen_layers((1, 4), 5) == (1, 4)
    with pytest.raises(StepError, match="name 5 and the model has 5"):
        chosen_layers((1, 5), 5)


def test_one_document_in_seventeen_trains_the_fallback():
    draws = [in_fallback(0, f"document {number}") for number in range(17_000)]
    assert 900 < sum(draws) < 1100


@pytest.mark.parametrize(
    "fault",
    [
        *({"rows": (0, 0)}, {"layers": "early"}, {"layers": (3, 2)}, {"stored": "int4"}, {"sequence": 1}),
        *({"budget": 0}, {"shared_epochs": 4}, {"shared_rate": 0}, {"rows": (0, 4), "shared_epochs": 1}),
        *({"model_rate": -0.1}, {"shared_epochs": 0, "model_rate": 0.1}),
    ],
)
def test_impossible_settings_are_refused(fault):
    with pytest.raises(RecipeError, match=f"The blocks' {next(iter(fault))} is"):
        TrainBlocks(**fault)
