"""What tests of a bank need of it: each module's own fixture `built`, a `TinyBank`, says which bank that is."""

import pytest

from mnemic import languagemodel


@pytest.fixture(scope="module")
def bank(built):
    return built.open()


@pytest.fixture
def model(built):
    """Its language model, to which nothing is attached yet."""
    return languagemodel.load(built.recipe["language_model"], "float32")[0]


@pytest.fixture
def tokenizer(built):
    return languagemodel.tokenizer(built.recipe["language_model"])
