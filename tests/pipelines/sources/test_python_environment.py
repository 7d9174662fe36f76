"""The environment source, on small distributions made here, and (slow) on the environment that runs the tests."""

from __future__ import annotations

import importlib.metadata
import json
import os
import random
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnemic.errors import SourceError
from pipelines.sources.contracts import Document, Item, Reject
from pipelines.sources.python_environment import PythonEnvironment

LONG = "A sentence that is long enough to be worth a document"
PROSE = "Some prose about the package.\nIt has lines.\n"


def install(site: Path, name: str, files: dict[str, str | bytes], version: str = "1.0", metadata: str = "") -> Path:
    """Write a distribution as an installer leaves it: files, METADATA and the RECORD that lists them."""
    info = f"{name.replace('-', '_')}-{version.replace('-', '_')}.dist-info"
    headers = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    listed = {f"{info}/METADATA": metadata or f"{headers}\nThe long description of {name}.\n"}
    listed |= {path.replace("INFO/", f"{info}/"): content for path, content in files.items()}  # type: ignore[misc]
    for path, content in listed.items():
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    (site / info / "RECORD").write_text("".join(f"{path},,\n" for path in [*listed, f"{info}/RECORD"]))
    return site / info


def read(source: PythonEnvironment, limit: int = 1_000_000) -> dict[str, Document | Reject]:
    entries = [entry for item in source.manifest() for entry in source.read(item, limit)]
    by_locator = {entry.locator: entry for entry in entries}
    assert len(by_locator) == len(entries)
    return by_locator


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site-packages"
    install(
        folder,
        "Demo.Package",
        {
            "demo/__init__.py": f'"""{LONG}, of the module."""\nraise SystemExit("imported")\n',
            "demo/core.py": f'class A:\n    def f(self):\n        """{LONG}, of f."""\n',
            "demo/README.rst": PROSE,
            "demo/docs/guide.md": PROSE,
            "demo/words.txt": "".join(f"word{chr(97 + n % 26)}\n" for n in range(300)),
            "demo/table.txt": "1.5 2.5 3.5\n" * 20,
            "demo/notes.txt": PROSE,
            "demo/CMakeLists.txt": "project(demo)\n",
            "demo/data.json": "{}",
            "demo/__init__.pyc": b"\0",
            "demo/LICENSE_PART": "Licence of a part.",
            "demo/tests/test_core.py": f'"""{LONG}, of a test."""\n',
            "demo/test/readme.md": PROSE,
            "demo/_vendor/part-2.0.dist-info/LICENSE": "Vendored licence.",
            "INFO/licenses/LICENSE.txt": "Licence text.",
            "INFO/AUTHORS": "Ada Lovelace",
            "INFO/INSTALLER": "pip\n",
            "INFO/direct_url.json": "{}",
            "INFO/entry_points.txt": "[console_scripts]\ndemo = demo:main\n",
            "INFO/top_level.txt": "demo\n",
        },
    )
    return folder


def test_documents_of_a_distribution(site: Path) -> None:
    entries = read(PythonEnvironment(path=[str(site)]))
    texts = {locator: entry.text for locator, entry in entries.items() if isinstance(entry, Document)}
    assert texts == {
        "demo-package:demo/__init__.py": f"{LONG}, of the module.",
        "demo-package:demo/core.py::A.f": f"{LONG}, of f.",
        "demo-package:demo/README.rst": PROSE,
        "demo-package:demo/docs/guide.md": PROSE,
        "demo-package:demo/notes.txt": PROSE,
        "demo-package:demo/LICENSE_PART": "Licence of a part.",
        "demo-package:demo/_vendor/part.dist-info/LICENSE": "Vendored licence.",
        "demo-package:Demo.Package.dist-info/METADATA": "The long description of Demo.Package.",
        "demo-package:Demo.Package.dist-info/licenses/LICENSE.txt": "Licence text.",
        "demo-package:Demo.Package.dist-info/AUTHORS": "Ada Lovelace",
    }
    assert {entry.collection for entry in entries.values() if isinstance(entry, Document)} == {"demo-package"}
    empty = {locator: entry.severity for locator, entry in entries.items() if isinstance(entry, Reject)}
    assert empty == {"demo-package:demo/words.txt": "empty", "demo-package:demo/table.txt": "empty"}


def test_the_item_is_the_distribution(site: Path) -> None:
    (item,) = PythonEnvironment(path=[str(site)]).manifest()
    assert item.locator == "demo-package-1.0"
    left_out = ("tests", "test/", ".json", ".pyc", "CMake", "RECORD", "INSTALLER", "entry_points", "top_level")
    files = [path for path in site.rglob("*") if path.is_file() and not any(part in str(path) for part in left_out)]
    assert item.size == sum(path.stat().st_size for path in files)


def test_the_stamp_tells_content_from_touching(site: Path) -> None:
    source = PythonEnvironment(path=[str(site)])
    before = source.manifest()
    os.utime(site / "demo/core.py", ns=(1, 1))
    assert source.manifest() == before
    (site / "demo/core.py").write_text(f'"""{LONG} now."""\n')
    assert source.manifest() != before


def test_an_upgrade_keeps_locators_and_changes_the_item(tmp_path: Path) -> None:
    entries, items = [], []
    for version in ("1.0", "2.0+cpu", "3.0-1"):
        site = tmp_path / version
        install(site, "two-words", {"two/a.py": f'"""{LONG}"""', "INFO/LICENSE": "x"}, version)
        source = PythonEnvironment(path=[str(site)])
        entries.append({entry.locator: entry for entry in read(source).values()})
        items += source.manifest()
    assert entries[0] == entries[1] == entries[2]
    assert "two-words:two_words.dist-info/LICENSE" in entries[0]
    assert [item.locator for item in items] == ["two-words-1.0", "two-words-2.0+cpu", "two-words-3.0_1"]


def test_an_egg_without_a_record_is_read_by_its_list_of_sources(tmp_path: Path) -> None:
    info = tmp_path / "old.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Name: old\nVersion: 1\n\nAbout old.\n")
    (info / "SOURCES.txt").write_text("old/README.md\nold/gone.md\nold.egg-info/PKG-INFO\n")
    (tmp_path / "old").mkdir()
    (tmp_path / "old/README.md").write_text(PROSE)
    entries = read(PythonEnvironment(path=[str(tmp_path)]))
    assert {locator: entry.text for locator, entry in entries.items() if isinstance(entry, Document)} == {
        "old:old/README.md": PROSE,
        "old:old.egg-info/PKG-INFO": "About old.",
    }


def test_the_same_file_in_two_distributions_has_two_locators(tmp_path: Path) -> None:
    for name in ("one", "two"):
        install(tmp_path, name, {"shared/README.md": PROSE})
    entries = read(PythonEnvironment(path=[str(tmp_path)]))
    assert {"one:shared/README.md", "two:shared/README.md"} <= set(entries)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("Name: d\nVersion: 1\n\n# Title\r\n\r\nBody.\n", "# Title\n\nBody."),
        ("Name: d\nVersion: 1\nDescription: One.\n        Two.\n       |Three.\n", "One.\nTwo.\nThree."),
        ("Name: d\nVersion: 1\n", None),
        ("Name: d\nVersion: 1\n\nUNKNOWN\n", None),
    ],
)
def test_long_descriptions(tmp_path: Path, metadata: str, expected: str | None) -> None:
    install(tmp_path, "d", {}, "1", metadata)
    (entry,) = read(PythonEnvironment(path=[str(tmp_path)])).values()
    if expected is None:
        assert isinstance(entry, Reject) and entry.severity == "empty"
    else:
        assert isinstance(entry, Document) and entry.text == expected


def test_what_cannot_be_read_is_rejected(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (tmp_path / "secret.md").write_text("secret")
    files: dict[str, str | bytes] = {
        "p/python2.py": "print 'x'\n",
        "p/latin.md": b"caf\xe9",
        "p/binary.txt": b"\0\1",
        "p/big.md": "x" * 300,
        "p/half.py": f'"""{LONG} \\ud800"""\n',
        "p/fine.py": f'"""{LONG}"""\n',
        "../secret.md": "secret",
    }
    install(site, "p", files)
    (site / "p/link.md").symlink_to(tmp_path / "secret.md")
    with open(site / "p-1.0.dist-info/RECORD", "a") as record:
        record.write("p/link.md,,\np/gone.md,,\n/etc/hostname.md,,\np/fine.py,,\n")
    entries = read(PythonEnvironment(path=[str(site)]), limit=250)
    rejects = {locator.removeprefix("p:"): entry for locator, entry in entries.items() if isinstance(entry, Reject)}
    assert set(rejects) == {
        "p/python2.py",
        "p/latin.md",
        "p/binary.txt",
        "p/big.md",
        "p/half.py",
        "p/link.md",
    }
    assert {entry.severity for entry in rejects.values()} == {"reject"}
    assert "line 1" in rejects["p/python2.py"].reason and "surrogate" in rejects["p/half.py"].reason
    assert "outside" in rejects["p/link.md"].reason
    assert {entry.locator for entry in entries.values() if isinstance(entry, Document)} == {
        "p:p/fine.py",
        "p:p.dist-info/METADATA",
    }


def test_mnemic_itself_and_broken_leftovers_are_left_out(site: Path) -> None:
    install(site, "mnemic", {"mnemic/README.md": PROSE})
    (site / "~emo-0.1.dist-info").mkdir()
    latin = install(site, "latin", {"latin/README.md": PROSE})
    (latin / "METADATA").write_bytes(b"Name: caf\xe9\nVersion: 1\n")
    assert [item.locator for item in PythonEnvironment(path=[str(site)]).manifest()] == ["demo-package-1.0"]


def test_the_first_folder_wins_and_folders_are_taken_once(tmp_path: Path) -> None:
    for folder, version in (("a", "1.0"), ("b", "2.0")):
        install(tmp_path / folder, "p", {}, version)
    install(tmp_path / "b", "q", {})
    (tmp_path / "c").symlink_to(tmp_path / "a")
    source = PythonEnvironment(path=[str(tmp_path / name) for name in "acb"])
    assert [item.locator for item in source.manifest()] == ["p-1.0", "q-1.0"]
    assert [item.locator for item in PythonEnvironment(path=[str(tmp_path / "b")]).manifest()] == ["p-2.0", "q-1.0"]


def test_a_package_that_changed_since_the_manifest_is_rejected(site: Path) -> None:
    (entry,) = PythonEnvironment(path=[str(site)]).read(Item("demo-package-0.9", 1, ""), 100)
    assert isinstance(entry, Reject) and "no longer installed in this version" in entry.reason
    (entry,) = PythonEnvironment(path=[str(site)]).read(Item("other-1.0", 1, ""), 100)
    assert isinstance(entry, Reject)


def test_packages_are_chosen_by_any_spelling(site: Path) -> None:
    install(site, "other", {})
    assert [i.locator for i in PythonEnvironment(path=[str(site)], packages=["demo_package"]).manifest()] == [
        "demo-package-1.0"
    ]
    with pytest.raises(SourceError, match="'demo-pakage' is not installed; did you mean 'demo-package'"):
        PythonEnvironment(path=[str(site)], packages=["demo-pakage"]).manifest()
    with pytest.raises(SourceError, match="'zzz' is not installed; install it or take"):
        PythonEnvironment(path=[str(site)], packages=["zzz"]).manifest()


def test_missing_and_empty_environments_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone' of the source 'python-environment' does not exist; give `path`"):
        PythonEnvironment(path=[str(tmp_path / "gone")]).manifest()
    with pytest.raises(SourceError, match="found no Python package"):
        PythonEnvironment(path=[str(tmp_path)]).manifest()


def test_identity_has_no_place(site: Path) -> None:
    here = PythonEnvironment(path=[str(site)], packages=["B", "a_b"], seed=3)
    assert here.identity() == PythonEnvironment(packages=["a-b", "b"], seed=3).identity()
    assert str(site) not in json.dumps(here.identity())
    changes: list[dict[str, object]] = [{}, {"packages": ["a"]}, {"sample_characters": 5}, {"seed": 1}]
    identities = [PythonEnvironment.model_validate(change).identity() for change in changes]
    assert len({json.dumps(identity) for identity in identities}) == len(changes)


# ---------------------------------------------------------------- samples


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty packages of 1,000 characters and one of 20,000."""
    site = tmp_path_factory.mktemp("many")
    for number in range(40):
        install(
            site, f"p{number:02}", {f"p{number:02}/README.md": "x" * 900}, metadata=f"Name: p{number:02}\nVersion: 1\n"
        )
    install(site, "large", {"large/README.md": "x" * 20_000})
    return site


def names(site: Path, **fields: int) -> set[str]:
    items = PythonEnvironment.model_validate({"path": [str(site)], **fields}).manifest()
    assert items == sorted(items, key=lambda item: item.locator)
    return {item.locator.rpartition("-")[0] for item in items}


def test_a_sample_holds_many_packages_of_about_the_asked_size(many: Path) -> None:
    chosen = names(many, sample_characters=10_000)
    assert len(chosen) in (10, 11) and "large" not in chosen
    assert names(many, sample_characters=10_000) == chosen
    assert names(many, sample_characters=10_000, seed=1) != chosen


def test_a_larger_sample_contains_a_smaller_one(many: Path) -> None:
    samples = [names(many, sample_characters=size) for size in (5_000, 10_000, 20_000)]
    assert samples[0] < samples[1] < samples[2]


def test_a_large_package_is_taken_where_the_others_are_too_few(many: Path) -> None:
    assert len(names(many, sample_characters=39_000)) == 41 - 1
    assert "large" in names(many, sample_characters=60_000)
    assert "large" in names(many, sample_characters=1_000_000)
    only = PythonEnvironment(path=[str(many)], packages=["large"], sample_characters=10)
    assert [item.locator for item in only.manifest()] == ["large-1.0"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(characters=st.integers(1, 80_000), seed=st.integers(0, 1000), order=st.randoms(use_true_random=False))
def test_a_sample_does_not_depend_on_the_order_of_the_folder(
    many: Path, characters: int, seed: int, order: random.Random
) -> None:
    listed = importlib.metadata.distributions

    def shuffled(**context: object) -> list[importlib.metadata.Distribution]:
        entries = list(listed(**context))  # type: ignore[arg-type]
        order.shuffle(entries)
        return entries

    expected = names(many, sample_characters=characters, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.metadata, "distributions", shuffled)
        assert names(many, sample_characters=characters, seed=seed) == expected
    assert expected


python_files = st.lists(
    st.sampled_from(
        ["", f'"""{LONG}"""\n', f'def f():\n    """{LONG}"""\n', "def (", "x = '\\ud800'\n", '"""\\0' + LONG + '"""']
    )
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(code=python_files, text=st.binary(max_size=40), limit=st.integers(1, 400))
def test_reading_an_item_is_deterministic(
    tmp_path_factory: pytest.TempPathFactory, code: list[str], text: bytes, limit: int
) -> None:
    site = tmp_path_factory.mktemp("site")
    install(site, "p", {"p/a.py": "".join(code), "p/b.md": text, "p/c.txt": text})
    source = PythonEnvironment(path=[str(site)])
    (item,) = source.manifest()
    entries = list(source.read(item, limit))
    assert entries == list(source.read(item, limit)) == list(source.model_copy().read(item, limit))
    assert len({entry.locator for entry in entries}) == len(entries)
    for entry in entries:
        (entry.text if isinstance(entry, Document) else entry.reason).encode()


# ---------------------------------------------------------------- the running environment


@pytest.mark.slow
def test_the_running_environment() -> None:
    """About 3 MB in some tens of packages, listed in less than 1.5 s, and nothing is imported."""
    source = PythonEnvironment(sample_characters=3_000_000)
    whole = PythonEnvironment()
    whole.manifest()
    started = time.perf_counter()
    everything = whole.manifest()
    assert time.perf_counter() - started < 1.5 * max(1, len(everything) / 150)
    loaded = set(sys.modules)
    items = source.manifest()
    entries = [entry for item in items for entry in source.read(item, 10_000_000)]
    assert {name.partition(".")[0] for name in set(sys.modules) - loaded} <= set(sys.stdlib_module_names)
    documents = [entry for entry in entries if isinstance(entry, Document)]
    characters = sum(len(document.text) for document in documents)
    assert set(items) < set(everything)
    assert len(items) >= 10
    assert 0.7 * 3_000_000 < characters < 1.3 * 3_000_000
    assert len({entry.locator for entry in entries}) == len(entries)
    assert sum(isinstance(entry, Reject) for entry in entries) < 0.01 * len(documents)
    first = source.read(items[0], 10_000_000)
    assert [entry.locator for entry in first] == [e.locator for e in entries if e.locator.startswith(_prefix(items[0]))]


def _prefix(item: Item) -> str:
    return item.locator.rpartition("-")[0] + ":"
