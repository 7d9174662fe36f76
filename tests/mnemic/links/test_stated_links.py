"""Links that sources state in a column, against what they lead to by the definition."""

import posixpath
import random
from urllib.parse import quote, urljoin

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mnemic.links.hops import ReadRow, linked
from mnemic.links.stated import parted_link, written_link
from mnemic.links.titles import Titles

NAMES = ["id", "tenant", "title", "source", "locator", "url"]


def titles_of(rows):
    """``rows`` are values of `NAMES`, and a list of links or None."""
    columns = [pa.array(one, pa.string()) for one in zip(*(row[:6] for row in rows), strict=True)]
    links = pa.array([row[6] for row in rows], pa.list_(pa.string()))
    return Titles.of_rows(pa.table([*columns, links], [*NAMES, "links"]))


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_link_that_is_written_is_read_as_it_was(anchor, target):
    try:
        entry = written_link(anchor, target)
    except UnicodeEncodeError:
        assert any("\ud800" <= one <= "\udfff" for one in target)
        return
    words = " ".join(anchor.split())
    assert bool(entry) == bool(words and target.strip())
    if entry:
        assert parted_link(entry) == (words, quote(target.strip(), safe="/:?#@!$&*+,;=%~"))


def by_definition(rows, place):
    """(anchor, ids) of the links of a row: to a file of its source, to an address, or to a title, in its tenant.

    A link to its own file or address leads nowhere.
    """
    own = rows[place]
    expected = []
    for anchor, target in own[7]:
        if target is None:
            ids = {row[0] for row in rows if row[1] == own[1] and row[2] == anchor}
        else:
            file = posixpath.normpath(posixpath.join(posixpath.dirname(own[4]), target))
            address = urljoin(own[5] or "", target)
            ids = {row[0] for row in rows if row[1] == own[1] and row[3] == own[3] and row[4] == file}
            ids = set() if file == own[4] else ids
            ids |= {row[0] for row in rows if row[1] == own[1] and row[5] and row[5] == address != own[5]}
        ids -= {own[0]}
        if ids:
            expected.append((anchor, ids))
    return expected


def test_links_lead_to_files_addresses_and_titles_of_their_tenant():
    draw = random.Random(4)
    reached = 0
    for _ in range(150):
        rows = []
        for number in range(10):
            title = draw.choice(["Alpha Ray", "Beta", None])
            locator = draw.choice(["a.html", "b/c d.html", "b/e(1).html", "f.html"])
            url = draw.choice([None, f"https://x.org/{draw.choice(['', 'b/'])}{draw.choice('pq')}.html"])
            links = [
                (
                    f"see {place}",
                    draw.choice(["a.html", "c d.html", "../a.html", "b/e(1).html", "https://x.org/p.html"]),
                )
                for place in range(3)
            ] + [("Alpha Ray", None)]
            entries = [anchor if target is None else written_link(anchor, target) for anchor, target in links]
            row = (f"d{number}", draw.choice("ab"), title, draw.choice("xy"), locator, url)
            rows.append((*row, draw.choice([entries, None]), links))
        rows = [(*row[:7], row[7] if row[6] else []) for row in rows]
        titles = titles_of(rows)
        for place, row in enumerate(rows):
            [at] = titles.places([row[0]]).tolist()
            stated = [(anchor, {titles.id(other) for other in places}) for anchor, places in titles.stated_links(at)]
            assert stated == by_definition(rows, place)
            reached += len(stated)
    assert reached > 1000


def test_the_sentence_that_has_the_words_of_a_link_leads_there():
    rows = [
        ("d1", "t", "Home", "s", "home.html", None, [written_link("the night trains", "trains.html")]),
        ("d2", "t", "Trains", "s", "trains.html", None, None),
        ("d3", "u", "Trains", "s", "trains.html", None, None),
    ]
    titles = titles_of(rows)
    [home] = titles.places(["d1"]).tolist()

    def reach(*texts):
        links = linked(titles, "when do they run?", [ReadRow(home, 1.0, texts, [0.5] * len(texts))])
        return {titles.id(place): link.reason for place, link in links.items()}

    assert reach("Read of the  night\ntrains there.", "It rains.") == {"d2": 'linked from "Home"'}
    assert reach("It rains at night.") == {}


def test_damaged_entries_lead_nowhere():
    entries = ["", "](", "[a](", "[](b.html)", "[x](http://[bad)", "[x](//y/z)", "[x](../../../up)", None, "[x](#here)"]
    rows = [
        ("d1", "t", "Home", "s", "home.html", "https://x.org/home.html", entries),
        ("d2", "t", "Other", "s", "other.html", None, None),
    ]
    titles = titles_of(rows)
    [home] = titles.places(["d1"]).tolist()
    assert titles.stated_links(home) == []
