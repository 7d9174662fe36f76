"""Links that a format states beside its text, read only where a recipe keeps them: hyperlinks, and answers in chats."""

import io
import json

import pytest
from tiny_encoder import save_tiny_encoder

import mnemic
from pipelines.sources.discord import Discord
from pipelines.sources.html import WebPages
from pipelines.sources.telegram import Telegram

PAGE = """<html><head><title>Guide</title></head><body><nav><a href="all.html">All of it</a></nav><main><p>
Read of <a href="sub/night%20trains.html#when">the <b>night</b> trains</a>, of <a href="https://x.org/a (1)">boats</a>,
<a href="#top">above</a>, <a href="mailto:ada@x.org">Ada</a>, <a href="">nothing</a> and <a name="b">no link</a>. """
PAGE += (
    "They run when it is dark, and stop where people wait for them along the line. " * 8 + "</p></main></body></html>"
)

TELEGRAM = [
    (1, "2026-03-02T10:00:00", "Shall we sail on Monday?", None),
    (2, "2026-03-02T10:01:00", "I do not know yet.", 1),
    (3, "2026-03-05T10:00:00", "Yes, on Monday. The wind is good.", 1),
    (4, "2026-03-05T10:05:00", "Nobody answers this.", 99),
]


def read(source, data, name):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return list(source.documents(io.BytesIO(data), name, 1_000_000))


@pytest.mark.parametrize("linked", [False, True])
def test_hyperlinks_of_a_page_are_read_where_they_are_kept(linked):
    pytest.importorskip("resiliparse")
    columns = {"links": "list"} if linked else {}
    [page] = read(WebPages(path=".", columns=columns), PAGE.encode(), "guide.html")
    [plain] = read(WebPages(path="."), PAGE.encode(), "guide.html")
    assert page.text == plain.text and page.locator == plain.locator
    expected = ["[the night trains](sub/night%20trains.html#when)", "[boats](https://x.org/a%20%281%29)"]
    assert page.metadata.get("links") == (expected if linked else None)
    other = {"where": {"type": "list", "field": "links"}} if linked else {"title": "text"}
    assert read(WebPages(path=".", columns=other), PAGE.encode(), "guide.html") == [page]


def telegram(messages):
    rows = [
        {"id": number, "type": "message", "date": time, "from": "Ada", "from_id": "u1", "text": text}
        | ({"reply_to_message_id": answered} if answered else {})
        for number, time, text, answered in messages
    ]
    return {"name": "Boats (new)", "type": "personal_chat", "id": 7, "messages": rows}


def discord(messages):
    rows = [
        {"id": str(number), "type": "Reply" if answered else "Default", "timestamp": f"{time}+00:00", "content": text}
        | {"author": {"name": "Ada"}}
        | ({"reference": {"messageId": str(answered)}} if answered else {})
        for number, time, text, answered in messages
    ]
    return {"guild": {"id": "1", "name": "Sea"}, "channel": {"id": "7", "name": "boats"}, "messages": rows}


@pytest.mark.parametrize(("kind", "export"), [(Telegram, telegram), (Discord, discord)])
def test_an_answer_in_a_later_session_links_to_the_message(kind, export):
    linked = read(kind(path=".", columns={"links": "list"}), export(TELEGRAM), "chat.json")
    plain = read(kind(path="."), export(TELEGRAM), "chat.json")
    assert [one.text for one in linked] == [one.text for one in plain] and len(linked) == 2
    assert all("links" not in one.metadata for one in (*plain, linked[0])), "an answer in its own session needs no link"
    [link] = linked[1].metadata["links"]
    assert link.startswith("[Yes, on Monday](/") and not set("# ()") & set(link[len("[Yes, on Monday](") : -1])
    again = read(kind(path=".", columns={"links": "list"}, pause_hours=80_000), export(TELEGRAM), "chat.json")
    assert len(again) == 1 and "links" not in again[0].metadata


def test_a_search_follows_what_pages_and_chats_state(tmp_path):
    pytest.importorskip("resiliparse")
    pages, chats = tmp_path / "pages", tmp_path / "chats"
    (pages / "sub").mkdir(parents=True)
    chats.mkdir()
    (pages / "guide.html").write_text(PAGE)
    (pages / "sub" / "night trains.html").write_text(
        "<html><title>Timetable</title><p>Ten past two, every day.</p></html>"
    )
    (pages / "sub" / "other.html").write_text("<html><title>Cellar</title><p>Wine and cheese for everybody.</p></html>")
    (chats / "result.json").write_text(json.dumps(telegram(TELEGRAM)))
    columns = {"columns": {"links": "list"}}
    recipe = {
        "name": "stated",
        "bank": str(tmp_path / "bank"),
        "sources": [
            {"kind": "html", "path": str(pages), **columns},
            {"kind": "telegram", "path": str(chats), **columns},
        ],
        "deduplicate": {"method": "exact"},
        "embed": {"model": str(save_tiny_encoder(tmp_path / "encoder")), "dtype": "float32"},
        "cluster": False,
        "context": {},
    }
    mnemic.build(recipe, device="cpu", engine="inline")
    bank = mnemic.open_bank(recipe["bank"])
    tenants = {row["tenant"] for row in bank.table("documents", ["tenant"]).to_pylist()}
    assert len(tenants) == 2
    hits = bank.search("read of the night trains", words=None, k=10, level="session", where={"source": "html"})
    reasons = {hit.metadata["title"]: hit.reason for hit in hits}
    assert reasons["Timetable"].startswith('linked from "Guide"') and "linked" not in reasons["Cellar"]
    answers = bank.search(
        "yes, on monday the wind is good", words=None, k=10, level="session", where={"source": "telegram"}
    )
    [first] = [hit for hit in answers if "Shall we sail" in hit.text]
    assert first.reason.startswith("linked from ")
    without = {**recipe, "bank": str(tmp_path / "plain")}
    without["sources"] = [
        {name: one for name, one in source.items() if name != "columns"} for source in recipe["sources"]
    ]
    mnemic.build(without, device="cpu", engine="inline")
    plain = mnemic.open_bank(without["bank"])
    hits = plain.search("read of the night trains", words=None, k=10, level="session", where={"source": "html"})
    assert not any("linked" in hit.reason for hit in hits)
    texts = [sorted(row["text"] for row in one.table("documents", ["text"]).to_pylist()) for one in (bank, plain)]
    assert texts[0] == texts[1]
