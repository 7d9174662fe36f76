"""A copy of the bank with four releases for each test."""

import pytest


@pytest.fixture
def bank(months, tmp_path):
    return months.copy(tmp_path)
