"""Hubs against their definition, for any order of rows; a sample stands for many documents."""

import random

import pyarrow as pa
import pytest

from mnemic.dataset import Store
from mnemic.dataset.write import append, write_rows
from mnemic.links import hubs
from mnemic.links.hubs import Hubs
from mnemic.links.titles import Titles
from mnemic.links.units import UnitRows

UNITS = pa.schema(
    [
        pa.field("document", pa.string(), nullable=False),
        pa.field("ordinal", pa.int32(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
    ]
)
NAMES = ("Trellis", "Night Mail", "Paper Boat", "Iron Song")


def release(tmp_path, documents):
    """``documents`` are (id, tenant, title, sentences)."""
    columns = list(zip(*documents, strict=True))
    locators = [f"{one}.md" for one in columns[0]]
    titles = Titles.of_rows(
        pa.table(
            {
                "id": columns[0],
                "tenant": columns[1],
                "title": pa.array(columns[2], pa.string()),
                "source": ["files"] * len(locators),
                "locator": locators,
            }
        )
    )
    rows = [(one, place, text) for one, _, _, texts in documents for place, text in enumerate(texts)]
    table = pa.table(
        [pa.array(one, field.type) for one, field in zip(zip(*rows, strict=True), UNITS, strict=True)], UNITS
    )
    dataset = Store(tmp_path)["units"]
    dataset.create(UNITS, {}, {})
    append(dataset, write_rows(dataset.uri, table, UNITS), {})
    return titles, Hubs(titles, UnitRows.of(dataset.require(), titles))


def drawn(draw, count):
    """Documents of two tenants; each names some of the four that have a title, or links to the first."""
    documents = []
    for number in range(count):
        tenant = "north" if number % 3 else "south"
        title = NAMES[number // 3] if number % 3 == 1 and number // 3 < len(NAMES) else None
        texts = [
            f"It names {name} here."
            for name, often in zip(NAMES, (0.9, 0.3, 0.15, 0.02), strict=True)
            if draw.random() < often
        ]
        texts += ["See [it](0007.md)."] if draw.random() < 0.5 else []
        documents.append((f"{number:04}", tenant, title, [*texts, "Nothing."]))
    return documents


@pytest.mark.parametrize("sample", [hubs.SAMPLE, 25])
def test_hubs_are_what_a_share_of_the_other_documents_leads_to(tmp_path, monkeypatch, sample):
    monkeypatch.setattr(hubs, "SAMPLE", sample)
    draw = random.Random(4)
    documents = drawn(draw, 120)
    expected = set()
    for tenant in ("north", "south"):
        own = [row for row in documents if row[1] == tenant][:sample]
        for identity, its, title, _ in documents:
            if its == tenant:
                others = [row for row in own if row[0] != identity]
                naming = [
                    row
                    for row in others
                    if (title and any(title in text for text in row[3]))
                    or any(f"({identity}.md)" in text for text in row[3])
                ]
                if len(naming) >= max(hubs.FEWEST, hubs.SHARE * len(others)):
                    expected.add(identity)
    assert "0001" in expected and "0010" not in expected
    for number in range(2):
        titles, places = release(tmp_path / str(number), draw.sample(documents, len(documents)))
        assert {titles.id(place) for place in range(len(documents)) if place in places} == expected


def test_a_tenant_with_few_documents_has_no_hubs_and_is_not_read(tmp_path, monkeypatch):
    documents = [(f"{number:04}", "t", NAMES[0] if not number else None, ["Trellis it is."]) for number in range(8)]
    titles, places = release(tmp_path, documents)
    monkeypatch.setattr(UnitRows, "texts", lambda *_: pytest.fail("read"))
    assert not any(place in places for place in range(8)) and "0000" not in places
    assert titles.id(0) == "0000"
