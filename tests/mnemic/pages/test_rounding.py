"""Rounding of keys and values against its definition in float64, and their bytes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnemic.errors import BankError, ModelError
from mnemic.pages.blob import PageForm
from mnemic.pages.rounding import GROUP, packed_codes, restored, rounded, unpacked_codes


def by_definition(numbers, bits):
    """Each group by itself, in float64: (steps, zeros, codes) with the halves nearest below and above."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = np.sort(halves[np.isfinite(halves)].astype(np.float64))
    steps, zeros, codes = [], [], []
    for start in range(0, len(numbers), GROUP):
        group = numbers[start : start + GROUP].astype(np.float64)
        zero = halves[halves <= group.min()][-1]
        step = halves[halves >= (group.max() - zero) / (2**bits - 1)][0]
        steps.append(step)
        zeros.append(zero)
        codes += [0 if step == 0 else min(2**bits - 1, round((x - zero) / step)) for x in group]
    return steps, zeros, codes


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("count", [1, 63, 64, 65, 150])
def test_steps_zeros_and_codes_are_those_of_the_definition(bits, count):
    draw = np.random.default_rng(bits * count)
    numbers = (draw.normal(size=count) * 10.0 ** draw.integers(-3, 3)).astype(np.float32)
    steps, zeros, codes = rounded(numbers, bits)
    expected = by_definition(numbers, bits)
    assert zeros.astype(np.float64).tolist() == expected[1]
    np.testing.assert_allclose(steps.astype(np.float64), expected[0], rtol=2**-10)  # a step is of float32 differences
    assert np.abs(codes.astype(int) - np.array(expected[2])).max() <= 1


shapes = st.tuples(st.integers(1, 3), st.integers(1, 140), st.sampled_from([1, 4, 63, 64, 65]))


@given(shapes, st.sampled_from([4, 8]), st.integers(0, 1 << 30), st.sampled_from([0.0, 1e-4, 1.0, 300.0]))
def test_every_number_comes_back_within_half_a_step(shape, bits, seed, size):
    draw = np.random.default_rng(seed)
    numbers = (draw.normal(size=shape) * size + draw.normal() * size).astype(np.float32)
    steps, zeros, codes = rounded(numbers, bits)
    back = restored(steps, zeros, codes.astype(np.float32), 2)
    half = np.repeat(steps.astype(np.float32), GROUP, axis=2)[..., : shape[2]] / 2
    assert np.isfinite(steps).all() and (steps >= 0).all()
    assert (np.abs(back - numbers) <= half * 1.001 + np.abs(numbers) * 1e-6).all()


@given(st.integers(1, 4), st.integers(1, 40), st.sampled_from([4, 8]), st.integers(0, 1 << 30))
def test_codes_as_bytes_are_an_exact_inverse(rows, count, bits, seed):
    codes = np.random.default_rng(seed).integers(0, 2**bits, (rows, count)).astype(np.uint8)
    packed = packed_codes(codes, bits)
    assert packed.shape[1] == -(-count * bits // 8)
    for row, own in zip(packed, codes, strict=True):
        assert np.array_equal(unpacked_codes(row, bits, count), own)


def both(shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draw) * 3, torch.randn(shape, generator=draw)


@pytest.mark.parametrize(("bits", "numbers"), [(16, "bfloat16"), (16, "float16"), (32, "float32")])
def test_a_whole_page_comes_back_bit_for_bit(bits, numbers):
    keys, values = (part.to(getattr(torch, numbers)) for part in both((2, 3, 5, 8)))
    form = PageForm(2, 3, 8, 5, bits, numbers)
    blob = form.packed(keys, values)
    assert len(blob) == form.size == 2 * 2 * 3 * 5 * 8 * bits // 8
    back = form.unpacked(blob)
    assert torch.equal(back[0], keys) and torch.equal(back[1], values)


@pytest.mark.parametrize("bits", [4, 8])
def test_keys_are_rounded_by_channel_and_values_by_token(bits):
    keys, values = both((2, 3, 70, 8))
    keys[:, :, :, 2] += 100.0  # a channel of its own size costs the others nothing
    values[:, :, 5] += 100.0
    form = PageForm(2, 3, 8, 70, bits)
    back = form.unpacked(form.packed(keys, values))
    spread = [(keys, back[0], 2), (values, back[1], 3)]
    for numbers, again, axis in spread:
        span = numbers.amax(axis, keepdim=True) - numbers.amin(axis, keepdim=True)
        assert ((again - numbers).abs() <= 0.51 * (span + 0.1) / (2**bits - 1)).all()


def test_layers_lie_one_behind_the_other_and_each_alone_is_a_page():
    keys, values = both((3, 2, 9, 8))
    whole = PageForm(3, 2, 8, 9, 4)
    blob, one = whole.packed(keys, values), PageForm(1, 2, 8, 9, 4)
    parts = [one.packed(keys[layer : layer + 1], values[layer : layer + 1]) for layer in range(3)]
    assert blob == b"".join(parts)


def test_bytes_a_token_of_a_model_of_30_layers():
    sizes = {bits: PageForm(30, 3, 64, 256, bits, "bfloat16" if bits == 16 else "").size / 256 for bits in (4, 8, 16)}
    assert sizes == {4: 6480.0, 8: 12240.0, 16: 23040.0}


@pytest.mark.parametrize("numbers", [float("nan"), float("inf"), 1e6])
def test_numbers_that_cannot_be_rounded_are_refused(numbers):
    keys, values = both((1, 1, 4, 4))
    keys[0, 0, 1, 1] = numbers
    for form in (PageForm(1, 1, 4, 4, 4), PageForm(1, 1, 4, 4, 16, "float16")):
        with pytest.raises(ModelError, match="pages of 32 bits"):
            form.packed(keys, values)


@pytest.mark.parametrize("bits", [4, 16])
def test_bytes_that_are_no_page_are_sentences(bits):
    form = PageForm(2, 2, 4, 6, bits, "bfloat16" if bits == 16 else "")
    blob = form.packed(*both((2, 2, 6, 4)))
    for other in (blob[:-1], blob + b"\0", b""):
        with pytest.raises(BankError, match="bytes where"):
            form.unpacked(other)
    nans = b"\xff\x7f" * (len(blob) // 2)
    with pytest.raises(BankError, match=r"not finite|no numbers"):
        form.unpacked(nans)


@pytest.mark.parametrize(
    "sizes", [(0, 1, 1, 1, 4), (1, 1, 1, 1 << 16, 4), (1 << 30, 1, 1, 1, 4), (1, 1, 1, 1, 5), (1, -1, 1, 1, 8)]
)
def test_shapes_that_no_page_has_are_refused(sizes):
    with pytest.raises(BankError, match="which no page has"):
        PageForm(*sizes)
    with pytest.raises(BankError, match="which no page has"):
        PageForm(1, 1, 1, 1, 16, "float64")
