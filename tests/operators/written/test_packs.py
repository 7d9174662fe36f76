"""Packs of leaves: whole events, within their size, in any order of rows."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from mnemic.schema import TIME
from operators.written.packs import CHARACTERS_OF_A_TOKEN, TOKENS_OF_A_UNIT, Packs

FIELDS = [("id", pa.string()), ("document", pa.string()), ("tenant", pa.string()), ("session", pa.string())]
FIELDS += [("parent", pa.string()), ("first_unit", pa.int32()), ("start", pa.int64()), ("end", pa.int64())]
FIELDS += [("text", pa.large_string()), ("speakers", pa.list_(pa.string())), ("start_time", TIME)]


def leaves(documents):
    """Rows of leaves; ``documents`` are lists of events, which are lists of the sizes of their leaves."""
    rows = []
    for number, events in enumerate(documents):
        place = unit = 0
        for event, sizes in enumerate(events):
            for size in sizes:
                row = {"id": f"{number}.{unit}", "document": f"d{number}", "tenant": "t", "session": "s"}
                row |= {"parent": f"{number}-{event}", "first_unit": unit, "start": place, "end": place + size}
                rows.append({**row, "text": "x" * size, "speakers": ["Ada"] if unit % 2 else ["Ada", "Bob"]})
                place, unit = place + size, unit + 1
    return pa.RecordBatch.from_pylist(rows, schema=pa.schema(FIELDS))


def cost(size):
    return size // CHARACTERS_OF_A_TOKEN + TOKENS_OF_A_UNIT


def by_the_definition(documents, tokens, rest):
    """The ids of the leaves of each pack, one leaf after the other."""
    packs = []
    for number, events in enumerate(documents):
        pack, filled, unit = [], 0, 0
        left = sum(cost(size) for sizes in events for size in sizes)
        for sizes in events:
            whole = sum(map(cost, sizes)) <= tokens
            if pack and filled + sum(map(cost, sizes)) > tokens and filled + left > (1 + rest) * tokens:
                packs.append(pack)
                pack, filled = [], 0
            for size in sizes:
                if pack and not whole and filled + cost(size) > tokens and filled + left > (1 + rest) * tokens:
                    packs.append(pack)
                    pack, filled = [], 0
                pack.append(f"{number}.{unit}")
                filled, unit, left = filled + cost(size), unit + 1, left - cost(size)
        packs += [pack] if pack else []
    return packs


DOCUMENTS = st.lists(
    st.lists(st.lists(st.integers(1, 700), min_size=1, max_size=5), min_size=1, max_size=6), min_size=1, max_size=4
)


@settings(max_examples=60)
@given(
    DOCUMENTS,
    st.integers(64, 400),
    st.integers(0, 4),
    st.sampled_from([0, 0.25, 0.5, 1]),
    st.randoms(use_true_random=False),
)
def test_packs_are_those_of_the_definition_whatever_the_order(documents, tokens, context, rest, random):
    operator = Packs(tokens, context, rest)
    batch = leaves(documents)
    packs, rejects = operator.pack(batch)
    rows = packs.to_pylist()
    assert rejects.num_rows == 0
    assert [[unit["event"] for unit in row["units"]] for row in rows] == by_the_definition(documents, tokens, rest)
    for row in rows:
        assert [unit["n"] for unit in row["units"]] == list(range(len(row["units"])))
        first = int(row["units"][0]["event"].split(".")[1])
        owner = row["units"][0]["event"].split(".")[0]
        assert [unit["event"] for unit in row["context"]] == [
            f"{owner}.{unit}" for unit in range(max(0, first - context), first)
        ]
    order = list(range(batch.num_rows))
    random.shuffle(order)
    shuffled, _ = operator.pack(batch.take(pa.array(order)))
    assert sorted(row["pack"] for row in shuffled.to_pylist()) == sorted(row["pack"] for row in rows)
    alone = [
        pack
        for document in dict.fromkeys(batch["document"].to_pylist())
        for pack in operator.pack(batch.filter(pa.compute.equal(batch["document"], document)))[0].to_pylist()
    ]
    assert alone == rows, "a pack depends on its own document alone"


@settings(max_examples=60)
@given(DOCUMENTS, st.integers(64, 400), st.sampled_from([0.25, 0.5, 1]))
def test_a_rest_saves_packs_loses_no_leaf_and_is_never_exceeded(documents, tokens, rest):
    with_rest, without = (Packs(tokens, 0, share).pack(leaves(documents))[0].to_pylist() for share in (rest, 0))
    leaf_ids = [[unit["event"] for row in rows for unit in row["units"]] for rows in (with_rest, without)]
    assert leaf_ids[0] == leaf_ids[1] and len(with_rest) <= len(without)
    for row in with_rest:
        assert row["tokens"] <= (1 + rest) * tokens or len(row["units"]) == 1


def test_a_unit_has_its_speaker_and_its_place():
    packs, _ = Packs().pack(leaves([[[10, 20]]]))
    first, second = packs.to_pylist()[0]["units"]
    assert (first["speaker"], second["speaker"]) == ("", "Ada")
    assert (second["start"], second["end"], second["text"]) == (10, 30, "x" * 20)


def test_a_row_that_is_too_long_is_a_reject_and_the_others_have_their_packs():
    packs, rejects = Packs(tokens=64).pack(leaves([[[50, 5000, 50]]]))
    assert [unit["event"] for row in packs.to_pylist() for unit in row["units"]] == ["0.0", "0.2"]
    (reject,) = rejects.to_pylist()
    assert reject["input"] == "d0" and "5,000 characters is too long" in reject["reason"]


def test_nothing_gives_nothing():
    packs, rejects = Packs().pack(leaves([[[5]]]).slice(0, 0))
    assert packs.num_rows == rejects.num_rows == 0
    assert np.array(packs.schema.names).tolist() == Packs().output(pa.schema([])).names


@pytest.mark.parametrize("setting", [{"tokens": 5}, {"context": -1}, {"rest": 1.5}])
def test_sizes_out_of_bounds_are_refused(setting):
    with pytest.raises(RecipeError, match="of packs is"):
        Packs(**setting)
