from __future__ import annotations

import numpy as np

from mnemic.splitmix import finalised, finalised_in_kernels, mixed


def test_it_is_the_published_generator() -> None:
    """The first outputs for the seeds 0 and 1234567 (prng.di.unimi.it/splitmix64.c)."""
    assert mixed(np.array([0, 1234567], np.uint64)).tolist() == [0xE220A8397B1DCDAF, 6457827717110365317]


def test_kernels_compute_what_arrays_do_and_leave_them_as_they_are() -> None:
    states = np.random.default_rng(0).integers(0, 2**64, 100, np.uint64)
    before = states.copy()
    assert [int(finalised_in_kernels(state)) for state in states] == finalised(states).tolist()
    assert np.array_equal(states, before)
