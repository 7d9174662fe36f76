"""A bank with four releases, built once, and a copy of it for each test."""

import pytest
from many_releases import ManyReleases


@pytest.fixture(scope="session")
def months(tmp_path_factory):
    return ManyReleases.build(tmp_path_factory.mktemp("months"))


@pytest.fixture
def bank(months, tmp_path):
    return months.copy(tmp_path)
