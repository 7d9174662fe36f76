"""The public names: pinned here, typed in the stubs, loaded on first use."""

import ast
import importlib
from pathlib import Path

import pytest

import mnemic

ROOT = Path(__file__).parents[2]
PUBLIC = {
    "mnemic": [
        "Bank", "Hit", "Memory", "MemoryInfo", "MnemicError", "Recipe", "Release", "Results", "__version__", "build",
        "compact", "compose", "contracts", "copy", "diff", "evaluate", "fuse", "load_recipe", "open_bank", "pack",
        "plan", "prune", "readmit", "remove", "rollback", "segment", "unpack",
    ],
    "mnemic.segment": ["SegmentSettings", "Stream", "StreamedEvent"],
    "mnemic.contracts": [
        "BatchFunction", "Checkpoint", "Corpus", "CorpusOperator", "DatasetSpec", "Derive", "Document", "Driven",
        "FilePart", "Files", "Fit", "Fitted", "Grow", "HeldOutRows", "IndexPlan", "Item", "KEPT", "Kind", "Learn",
        "Memory", "MemoryInfo", "NO_REJECTS", "Parent", "Progress", "REJECTED", "Records", "Reject", "Resources",
        "RowOperator", "Scored", "Section", "Source", "TrainedKind", "Training", "Turn", "View", "content",
        "decode_text", "dtype_field", "model_field", "read_bytes", "refuse", "shared_field",
    ],
}  # fmt: skip
"""A name that goes, or changes what it means, breaks somebody: CHANGELOG.md says so first."""


def stubbed(module: str) -> set[str]:
    """The names of a module's stub."""
    place = ROOT.joinpath(*module.split("."))
    stub = place / "__init__.pyi" if place.is_dir() else place.with_suffix(".pyi")
    names = set()
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names}
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
    return names


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_these_and_all_load(module):
    loaded = importlib.import_module(module)
    assert sorted(loaded.__all__) == sorted(PUBLIC[module]) == sorted({*dir(loaded)} & {*PUBLIC[module]})
    assert all(getattr(loaded, name) is not None for name in PUBLIC[module])


@pytest.mark.parametrize("module", PUBLIC)
def test_type_checkers_see_the_same_names(module):
    assert stubbed(module) == set(PUBLIC[module])


def test_a_name_that_is_not_there_is_an_attribute_error():
    for module in PUBLIC:
        with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'nothing'"):
            importlib.import_module(module).nothing  # noqa: B018


def test_the_lazy_names_are_those_of_the_modules_that_define_them():
    from mnemic.bank import Bank
    from operators.segment.stream import Stream
    from pipelines.plan import plan

    assert (mnemic.Bank, mnemic.segment.Stream, mnemic.plan) == (Bank, Stream, plan)


def test_every_package_says_that_it_is_typed():
    import tomllib

    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for package in ("mnemic", "operators", "pipelines", "flows"):
        assert (ROOT / package / "py.typed").exists() and "py.typed" in data[package]
    assert "*.pyi" in data["mnemic"]
