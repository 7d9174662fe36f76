"""Sets of keys of rows, and ids that were met: 16 bytes each."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.ids import hash_parts
from pipelines import corpus_reader, keyset, seen
from pipelines.keyset import KeySet
from pipelines.seen import SeenIds

KEYS = st.lists(st.tuples(st.text(st.sampled_from("ab\0é"), max_size=20), st.integers(0, 3)), max_size=30)


def batches_of(keys: list[tuple[str, int]], size: int = 7) -> list[pa.RecordBatch]:
    parts = [keys[start : start + size] for start in range(0, len(keys), size)]
    return [pa.record_batch({"name": [k[0] for k in part], "number": [k[1] for k in part]}) for part in parts]


@given(KEYS, KEYS, st.sampled_from((100, 1 << 20)))
def test_it_does_what_sets_do(mine: list[tuple[str, int]], others: list[tuple[str, int]], in_memory: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keyset, "_MERGED", 10)
        patch.setattr(keyset, "_IN_MEMORY", in_memory)
        one, other = KeySet(batches_of(mine)), KeySet(batches_of(others))
        both, less = one | other, one - other
    assert len(one) == len(set(mine)) and len(both) == len({*mine, *others})
    assert len(less) == len(set(mine) - set(others))
    for some, expected in ((less, set(mine) - set(others)), (both, {*mine, *others}), (KeySet(), set())):
        for batch in batches_of([*mine, *others]):
            keys = zip(batch["name"].to_pylist(), batch["number"].to_pylist(), strict=True)
            assert some.has(batch).tolist() == [key in expected for key in keys]


@given(st.lists(st.integers(0, 20), max_size=60), st.booleans())
def test_an_id_is_new_once(numbers: list[int], ending_in_zeros: bool) -> None:
    ids = [f"{number:02x}" + "00" * 15 if ending_in_zeros else hash_parts(number) for number in numbers]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen, "_WAITING", 3)
        met = SeenIds()
        assert [met.add(one) for one in ids] == [one not in ids[:place] for place, one in enumerate(ids)]


@given(st.lists(st.text(st.sampled_from("ab\0"), min_size=16, max_size=16), min_size=1, max_size=20), st.integers(1, 3))
def test_strings_of_one_length_have_the_hashes_of_others(texts: list[str], times: int) -> None:
    column = pa.array([text * times for text in texts], pa.string())
    for part in (column, column.slice(len(column) // 2)):
        batch = pa.record_batch({"id": part, "number": pa.array(range(len(part)), pa.int64())})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(corpus_reader, "_even_blocks", lambda column: None)
            expected = corpus_reader.key_hashes(batch)
        assert corpus_reader._even_blocks(part) is not None and (corpus_reader.key_hashes(batch) == expected).all()
