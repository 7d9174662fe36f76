"""A bank with four releases, built once a run, and a copy of it for each test."""

from pathlib import Path

import pytest
from many_releases import ManyReleases
from shared_folder import built_once


@pytest.fixture(scope="session")
def months(tmp_path_factory):
    def build(root):
        many = ManyReleases.build(root)
        return many.recipe, many.digests

    recipe, digests = built_once(tmp_path_factory, "months", build)
    return ManyReleases(recipe, Path(recipe["sources"][0]["path"]), digests)


@pytest.fixture
def bank(months, tmp_path):
    return months.copy(tmp_path)
