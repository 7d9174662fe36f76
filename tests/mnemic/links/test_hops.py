"""Documents that questions and sentences name, against every title in every sentence."""

import random
import time

import pyarrow as pa
import pytest

from mnemic.links.hops import TARGETS, ReadRow, linked, named
from mnemic.links.stated import stated_locators
from mnemic.links.titles import HOMES, Titles


def titles_of(rows):
    """``rows`` are (id, tenant, title), and perhaps (source, locator)."""
    columns = list(zip(*((*row, "files", f"{row[0]}.md")[:5] if len(row) == 3 else row for row in rows), strict=True))
    names = ["id", "tenant", "title", "source", "locator"]
    return Titles.of_rows(pa.table([pa.array(one, pa.string()) for one in columns or [[]] * 5], names))


def sentences(titles, document, *pairs, score=1.0):
    [place] = titles.places([document]).tolist()
    return ReadRow(place, score, [text for text, _ in pairs], [cosine for _, cosine in pairs])


def by_id(titles, links):
    return {titles.id(place): link for place, link in links.items()}


def test_a_sentence_leads_to_the_document_that_it_names_and_the_nearest_sentence_counts():
    titles = titles_of(
        [("d1", "t", "Kiss and Tell (1945 film)"), ("d2", "t", "Shirley Temple"), ("d3", "t", "Virginia")]
    )
    source = sentences(
        titles,
        "d1",
        ("Kiss and Tell is a film with Shirley Temple.", 0.4),
        ("Shirley Temple was a girl then.", 0.8),
        ("Some of it was shot in Virginia.", 0.2),
    )
    links = by_id(titles, linked(titles, "who was in the film?", [source]))
    assert {one: link.weight for one, link in links.items()} == {"d2": 1.0, "d3": pytest.approx(0.25)}
    assert links["d2"].reason == 'named "Shirley Temple" in "Kiss and Tell (1945 film)"'
    assert "d2" not in by_id(titles, linked(titles, "was shirley temple there?", [source])), "the question has it"


def test_links_are_those_of_every_title_in_every_sentence():
    draw = random.Random(5)
    names = ["Alpha", "Beta", "Gamma Ray", "Zeta", "Delta Wing", "Epsilon"]
    for _ in range(200):
        rows = [(f"d{number:02}", draw.choice("ab"), draw.choice(names)) for number in range(14)]
        titles = titles_of(rows)
        sources, expected = [], {}
        sought = draw.choice(names)
        for document, tenant, title in draw.sample(rows, 4):
            score = draw.randint(0, 4) / 4
            pairs = [(" and ".join(draw.sample(names, 2)), draw.randint(-2, 4) / 4) for _ in range(3)]
            sources.append(sentences(titles, document, *pairs, score=score))
            for text, cosine in pairs:
                titled = [name for name in text.split(" and ") if name not in (sought, title)]
                for other, its, name in rows:
                    if name in titled and its == tenant and score * cosine > 0:
                        expected[other] = max(expected.get(other, 0), score * cosine)
        links = linked(titles, f"what of {sought}?", sources)
        most = max(expected.values(), default=1)
        weights = {one: link.weight for one, link in by_id(titles, links).items()}
        assert weights == pytest.approx({one: weight / most for one, weight in expected.items()})
        shuffled = draw.sample(rows, len(rows))
        again = titles_of(shuffled)
        moved = [
            ReadRow(int(again.places([titles.id(one.place)])[0]), one.score, one.texts, one.cosines) for one in sources
        ]
        assert by_id(again, linked(again, f"what of {sought}?", moved)).keys() == weights.keys()
        for number in {int(one) for one in titles.tenants}:
            own = {titles.id(place) for place in (titles.tenants == number).nonzero()[0].tolist()}
            called = {one for one, _, title in rows if title == sought and one in own}
            assert set(by_id(titles, named(titles, f"what of {sought}?", {number}))) == called


def test_no_link_leaves_a_tenant():
    rows = [("d1", "a", "Alpha"), ("d2", "b", "Beta"), ("d3", "a", "Beta"), ("d4", "b", "Alpha")]
    titles = titles_of(rows)
    links = by_id(titles, linked(titles, "", [sentences(titles, "d1", ("Beta.", 0.5))]))
    assert set(links) == {"d3"}
    tenant = {rows[place][1]: int(titles.tenants[titles.places([rows[place][0]])[0]]) for place in range(4)}
    assert set(by_id(titles, named(titles, "alpha or beta", {tenant["b"]}))) == {"d2", "d4"}
    assert named(titles, "alpha or beta", set()) == {}


def test_titles_that_say_nothing_name_nothing():
    rows = [
        (f"d{number}", "t", title) for number, title in enumerate(("It", "The", "a", "X", "?", "", None, "of", "Rome"))
    ]
    titles = titles_of(rows)
    source = sentences(titles, "d0", ("It is the X of a Rome?", 0.5))
    assert set(by_id(titles, linked(titles, "it of the a x", [source]))) == {"d8"}
    assert named(titles, "Is it the X of a?", {0}) == {}


def test_a_title_that_many_documents_have_leads_to_none_of_them():
    rows = [(f"d{number:06}", "t", "Readme") for number in range(100_000)]
    rows += [(f"e{number}", "u", "Readme") for number in range(HOMES)]
    titles = titles_of(rows)
    start = time.process_time()
    source = sentences(titles, "d000000", *[("Readme Readme Readme.", 0.5)] * 300)
    assert linked(titles, "", [source]) == {}
    tenants = {int(titles.tenants[titles.places([one])[0]]) for one in ("d000000", "e0")}
    assert set(by_id(titles, named(titles, "the readme", tenants))) == {f"e{number}" for number in range(HOMES)}
    assert time.process_time() - start < 1.0


def test_a_question_leads_to_a_bounded_number_of_documents():
    rows = [(f"d{number:04}", "t", f"Name{number:04}") for number in range(1_000)]
    titles = titles_of(rows)
    text = " ".join(title for _, _, title in rows)
    assert len(named(titles, text, {0})) == TARGETS
    links = linked(titles, "", [sentences(titles, "d0000", (text[:900], 0.5), ("Name0999 is near", 0.9))])
    assert len(links) == TARGETS and by_id(titles, links)["d0999"].weight == 1.0


def test_reasons_are_one_short_line_whatever_a_title_holds():
    titles = titles_of([("d1", "t", "Bad\x1b[31m\nTitle " + "x" * 500), ("d2", "t", "Rome")])
    [link] = linked(titles, "", [sentences(titles, "d1", ("Rome.", 1.0))]).values()
    assert "\n" not in link.reason and "\x1b" not in link.reason and len(link.reason) < 120


def test_titles_of_no_document_are_none():
    titles = titles_of([])
    assert titles.places(["x"]).tolist() == [-1] and named(titles, "x", {0}) == {}


def test_a_link_that_a_text_states_leads_to_its_file_of_the_same_source_and_tenant():
    rows = [
        ("d1", "t", "Guide", "files", "docs/guide.md"),
        ("d2", "t", None, "files", "docs/night trains.md"),
        ("d3", "u", None, "files", "docs/night trains.md"),
        ("d4", "t", None, "other", "docs/night trains.md"),
        ("d5", "t", None, "files", "readme.md"),
        ("d6", "t", None, "files", "docs/night trains.md2"),
        *((f"e{number}", f"v{number}", None, "files", "readme.md") for number in range(100)),
    ]
    titles = titles_of(rows)
    text = "See [them](./night%20trains.md#now), [home](/readme.md), [out](../../etc/readme.md), [w](https://x.org/readme.md)"
    links = by_id(titles, linked(titles, "", [sentences(titles, "d1", (text, 0.5))]))
    assert {one: link.reason for one, link in links.items()} == dict.fromkeys(("d2", "d5"), 'linked from "Guide"')


@pytest.mark.parametrize("text", ["](" * 50_000, "[" * 100_000, "](a" * 30_000, "]( <" * 30_000, "](%zz%00)" * 10_000])
def test_broken_links_cost_no_time(text):
    titles = titles_of([("d1", "t", "Guide", "files", "a"), ("d2", "t", None, "files", "b")])
    start = time.process_time()
    linked(titles, "", [sentences(titles, "d1", *[(text, 0.5)] * 50)])
    list(stated_locators(text, "a/b"))
    assert time.process_time() - start < 2.0
