"""The pages: every link leads somewhere, every file that code or text cites is there, and the first page is short."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
CITED = re.compile(r"(?<![\w/.-])((?:docs|deploy|examples|bench|tests|mnemic|operators|pipelines|flows)/[\w./-]+\.\w+)")
CODE = [file for folder in ("mnemic", "operators", "pipelines", "flows") for file in (ROOT / folder).rglob("*.py")]


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The names that links take for the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_there_are_pages():
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LOG.md"} <= {page.name for page in PAGES}
    assert (ROOT / "docs" / "README.md") in PAGES


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    for link in links:
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        place = (page.parent / target).resolve() if target else page
        assert place.exists(), f"{name(page)} links to {link}"
        assert not anchor or anchor in anchors(place), f"{name(page)} links to {link}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "LOG.md"], ids=name)
def test_every_file_that_a_page_cites_is_there(page):
    """LOG.md is left out: it says what things were called on its day."""
    for cited in CITED.findall(page.read_text()):
        assert (ROOT / cited).exists() or {"NAME", "FAMILY"} & set(re.split(r"\W", cited)), (
            f"{name(page)} cites {cited}"
        )


def test_every_page_that_code_cites_is_there():
    """Pages of this repository are called in capitals or stand in docs/; an address names somebody else's."""
    places = set()
    for file in CODE:
        ours = [line for line in file.read_text().splitlines() if "github.com" not in line]
        for cited in re.findall(r"(?<![\w/.-])(docs/[\w-]+\.md|[A-Z]+\.md)\b", "\n".join(ours)):
            places.add((name(file), cited))
    assert len(places) > 5
    assert not {(file, cited) for file, cited in places if not (ROOT / cited).exists()}


def test_the_first_page_is_read_in_a_minute():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


def test_the_index_of_the_pages_is_whole():
    index = (ROOT / "docs" / "README.md").read_text()
    first = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").glob("[a-z]*.md"):
        assert f"]({page.name})" in index and f"](docs/{page.name})" in first


def python_blocks() -> list[tuple[str, str]]:
    blocks = []
    for page in PAGES:
        if page.name != "LOG.md":
            code = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
            blocks += [(f"{name(page)}-{number}", block) for number, block in enumerate(code)]
    return blocks


@pytest.mark.parametrize("block", [block for _, block in python_blocks()], ids=[name for name, _ in python_blocks()])
def test_code_of_the_pages_is_python_and_imports_only_mnemic(block):
    """Whoever uses mnemic never imports `operators` or `pipelines`; every name that a page imports is there."""
    import importlib

    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [str(node.module)]
            if imported[0].startswith("mnemic"):
                module = importlib.import_module(imported[0])
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
        else:
            continue
        assert not {"operators", "pipelines", "flows"} & {one.partition(".")[0] for one in imported}
