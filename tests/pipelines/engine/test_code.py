"""Workers have the code of the driver: ours, and that of packages that joined by entry points."""

import importlib
import sys
from pathlib import Path

import pytest

from pipelines.engine.code import OWN, code_digest, places, shared_packages, shipped_code


@pytest.fixture(autouse=True)
def nothing_remembered():
    shared_packages.cache_clear()
    code_digest.cache_clear()
    yield
    shared_packages.cache_clear()
    code_digest.cache_clear()


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A checkout of a package and of a single module that offer an operator and a source."""
    info = tmp_path / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    entries = "[mnemic.operators]\nfacts = outside_package.facts:SECTION\n[mnemic.sources]\nmail = outside_mail:Mail\n"
    (info / "entry_points.txt").write_text(entries)
    (tmp_path / "outside_package").mkdir()
    (tmp_path / "outside_package" / "__init__.py").write_text("")
    (tmp_path / "outside_package" / "facts.py").write_text("SECTION = 1")
    (tmp_path / "outside_mail.py").write_text("Mail = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    return tmp_path


def test_what_joined_is_code_that_workers_must_share(outside):
    assert shared_packages() == (*OWN, "outside_mail", "outside_package")
    before = code_digest(shared_packages())
    for file in ("outside_package/facts.py", "outside_mail.py"):
        code_digest.cache_clear()
        (outside / file).write_text("SECTION = 2; Mail = 2")
        assert code_digest(shared_packages()) != before, file
        before = code_digest(shared_packages())


def test_a_worker_without_the_package_has_another_digest(outside):
    here = code_digest(shared_packages())
    packages = shared_packages()
    sys.path.remove(str(outside))
    importlib.invalidate_caches()
    code_digest.cache_clear()
    assert places("outside_package") == []
    assert code_digest(packages) != here


def test_checkouts_are_shipped_and_what_is_installed_is_not(outside):
    shipped = shipped_code(shared_packages())["py_modules"]
    assert {str(outside / "outside_package"), str(outside / "outside_mail.py")} <= set(shipped)
    assert str(Path(pytest.__file__).parent) not in shipped
    assert shipped_code(("pytest",)) is None
