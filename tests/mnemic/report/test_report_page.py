"""The report of a bank: one page without requests and scripts, hostile texts escaped, equal for equal banks."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import lance
import numpy as np
import pytest

import mnemic
from mnemic.command import main
from mnemic.errors import BankError
from mnemic.report import report
from mnemic.view import View

HOSTILE = "</script><img src=https://x.example/a onerror=alert(1)>\u202e\x1b[31m</pre></svg>\"'&"
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Elements(HTMLParser):
    """Elements and attributes of a page; fails where they do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, (tag, self._open[-3:])
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


def check(html: str) -> Elements:
    """No element that could run or fetch anything, whatever the texts are."""
    page = Elements(html)
    assert {"script", "img", "link", "iframe", "object", "form", "base"}.isdisjoint(page.names)
    for name, value in page.attributes:
        assert not name.startswith("on") and name not in ("src", "style")
        assert name != "href" or value.startswith("#")
    assert re.search(r"default-src 'none'; style-src 'unsafe-inline'", html)
    assert "url(" not in html and "@import" not in html
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", html)
    assert len(html.encode()) < 300_000
    return page


def test_every_part_stands_on_the_page_with_its_numbers(tiny) -> None:
    bank = tiny.open()
    html = report(bank)
    page = check(html)
    titles = ["Funnel", "Drops", "Histograms", "Duplicates", "Events", "Clusters", "Recall", "Memories"]
    titles += ["Time and bytes", "Lineage", "Releases", "Rejects"]
    for title in titles:
        assert f"<h2>{title}</h2>" in html, title
    assert page.names.count("svg") >= 12 and page.names.count("table") >= page.names.count("svg")
    assert page.names.count("svg") == page.names.count("title") - 1, "each figure has a sentence"
    for text in (bank.release.name, "near duplicates", "delta/broken.txt", "imitate"):
        assert text in page.text
    originals = bank.dataset("documents").count("duplicate_of = ''")
    assert f"Of {bank.dataset('documents').count():,} documents {originals:,} are kept" in page.text


def test_equal_banks_give_equal_pages(tiny, tmp_path, monkeypatch) -> None:
    html = report(tiny.open())
    assert html == report(tiny.open())
    copied = tiny.copy(tmp_path)["bank"]
    assert report(mnemic.open_bank(copied)).replace(copied, tiny.recipe["bank"]) == html
    monkeypatch.setattr(View, "path", "https://somewhere/else")
    check(report(tiny.open()))


def test_hostile_texts_do_nothing(tiny, tmp_path) -> None:
    root = Path(tiny.copy(tmp_path)["bank"])
    quoted = "'" + HOSTILE.replace("'", "''") + "'"
    changed = {
        "documents": ("locator", "source", "text"),
        "events": ("text", "cause"),
        "clusters": ("label",),
        "rejects": ("locator", "reason", "step"),
        "pairs": ("verdict",),
        "memories": ("name",),
        "metrics": ("memory",),
    }
    for name, columns in changed.items():
        dataset = lance.dataset(str(root / f"{name}.lance"))
        dataset.update({column: f"concat({column}, {quoted})" for column in columns})
    releases = lance.dataset(str(root / "releases.lance"))
    row = releases.to_table().to_pylist()[-1]
    versions = json.loads(row["versions"])
    versions |= {name: lance.dataset(str(root / f"{name}.lance")).version for name in changed if name in versions}
    recipe = {**json.loads(row["recipe"]), "name": HOSTILE}
    values = {"versions": json.dumps(versions), "recipe": json.dumps(recipe)}
    releases.update({name: "'" + value.replace("'", "''") + "'" for name, value in values.items()})
    page = check(report(mnemic.open_bank(root)))
    assert "<img src=https://x.example/a onerror=alert(1)>" in page.text, "it is there, as text"


def test_a_page_against_another_release_says_what_differs(tiny, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = tiny.recipe["bank"]
    name = tiny.open().release.name
    assert main(["report", root, "--against", name]) == 0
    [written] = tmp_path.glob("*.html")
    assert written.name == f"{Path(root).name}-{name}.html" and f"{written.name}, " in capsys.readouterr().out
    html = written.read_text()
    check(html)
    assert "<h2>Against</h2>" in html and "The content is equal." in html
    assert main(["report", root, "--against", "1999"]) == BankError.exit_code
    assert "has no release '1999'" in capsys.readouterr().err
    assert main(["report", root, "--out", str(tmp_path / "no" / "x.html")]) == 1


@pytest.mark.parametrize("where", ["documents", "events", "clusters", "metrics"])
def test_a_bank_that_lacks_a_dataset_has_a_page_all_the_same(tiny, where) -> None:
    bank = tiny.open()
    if where == "documents":
        lacking = {name for name in bank.release.versions if name not in ("documents", "units")}
    else:
        lacking = {where}
    for name in lacking:
        del bank.release.versions[name]
    check(report(bank))
    assert np.all([name not in bank.view for name in lacking])
