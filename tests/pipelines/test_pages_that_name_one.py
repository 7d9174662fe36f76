"""A folder of pages that nearly all name one of them: it leads nowhere, and the page that answers stands first."""

import pytest
from placed_bank import placed_recipe

import mnemic
from mnemic.links.hubs import FEWEST

TOPICS = ("serving", "storing", "building", "searching", "writing", "measuring", "curating", "removing", "moving")
TOPICS += ("segmenting", "embedding", "scaling")


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """Pages of a project called Trellis, for two tenants; the one with few pages has the first ones."""
    notes = [{"title": "Trellis", "text": "Trellis is a memory. Its table lists Night Mail and all pages."}]
    for topic in TOPICS:
        notes.append(
            {"title": f"{topic} guide", "text": f"About {topic}. Trellis does {topic} for agents. It is quick."}
        )
    notes.append({"title": "Night Mail", "text": "A letter that goes out at night. It brings the report."})
    few = notes[: FEWEST - 2]
    rows = [{**note, "who": who} for who, some in (("many", notes), ("few", few)) for note in some]
    root = tmp_path_factory.mktemp("pages")
    recipe = placed_recipe(root, [{"id": str(number), **row} for number, row in enumerate(rows)], mean_units=50)
    mnemic.build(recipe, device="cpu", engine="inline")
    return mnemic.open_bank(recipe["bank"])


def by_title(bank, query, tenant, **settings):
    titles = {row["id"]: row["title"] for row in bank.table("documents", ["id", "title"]).to_pylist()}
    hits = bank.search(query, words=None, k=50, where={"tenant": tenant}, **settings)
    return {titles[hit.document]: hit for hit in sorted(hits, key=lambda hit: (-hit.score, hit.id))}


@pytest.mark.parametrize("level", ["session", None])
@pytest.mark.parametrize("query", ["how does Trellis do serving for agents?", "how is serving done for agents?"])
def test_a_title_that_nearly_every_page_names_leads_nowhere(bank, level, query):
    linked, plain = (by_title(bank, query, "many", level=level, links=links) for links in (True, False))
    assert linked["Trellis"].score == pytest.approx(plain["Trellis"].score)
    assert "name" not in linked["Trellis"].reason and "Trellis" not in linked["serving guide"].reason
    assert next(iter(linked)) == next(iter(plain)) != "Trellis"


@pytest.mark.parametrize("level", ["session", None])
def test_a_title_that_few_pages_name_leads_on(bank, level):
    hit = by_title(bank, "what does the table of Trellis list?", "many", level=level)["Night Mail"]
    assert 'named "Night Mail" in "Trellis"' in hit.reason
    few = by_title(bank, "how does Trellis do serving?", "few", level=level)["Trellis"]
    assert 'the question names "Trellis"' in few.reason, "of a few pages one that all name may be the one that answers"
