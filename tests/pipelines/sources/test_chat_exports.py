"""Exports of chats: who spoke, when, in which session and tenant; what is left out is told; refusals name the kind."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import chat_exports as exports
import pytest
from chat_exports import FORMATS, read_all
from conversation_files import documents, rejects, said

from pipelines.recipe import load_recipe
from pipelines.sources import chatgpt, claude, discord, mail, slack, telegram, whatsapp
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.conversations import Conversations
from pipelines.sources.files import Files
from pipelines.sources.folder import Folder

RECOGNISERS = {
    "chatgpt": chatgpt.recognise,
    "claude": claude.recognise,
    "discord": discord.recognise,
    "telegram": telegram.recognise,
    "slack": slack.recognise,
    "whatsapp": whatsapp.recognise,
    "mail": mail.recognise,
}
OTHERS = {
    "notes.txt": b"We met 2/3/26 at noon.\nFrom there: home.\n",
    "x.json": b'{"id": "team", "turns": [{"text": "a"}]}',
    "memo.txt": b"From: Ada\nTo: Bob\nDate: Monday\nSubject: Bread\n\nIt rises.\n",
    "log.txt": b"2026-03-02 10:30:00 - root - INFO: on\n2026-03-02 10:30:01 - root - INFO: off\n",
    "web.txt": b"[2026-03-02 10:30:00] local.ERROR: on\n[2026-03-02 10:30:01] local.ERROR: off\n",
}
KINDS = {"discord package": "discord", "mbox": "mail", "eml": "mail", "maildir": "mail"}


def read(source: Files, data: Any, name: str, limit: int = 100_000) -> list[Document | Reject]:
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    return list(source.documents(io.BytesIO(content), name, limit))


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_is_known_by_its_content_and_by_no_other_reader(form: str, tmp_path: Path) -> None:
    file = FORMATS[form][1](tmp_path)
    head = file.read_bytes()[:65_536]
    name = str(file.relative_to(tmp_path))
    kinds = [kind for kind, recognise in RECOGNISERS.items() if recognise(name, head)]
    assert kinds == [KINDS.get(form, form)]
    for name, text in OTHERS.items():
        assert not [kind for kind, recognise in RECOGNISERS.items() if recognise(name, text)], name


@pytest.mark.parametrize("form", FORMATS)
def test_any_order_gives_the_same_documents_and_moving_changes_nothing(form: str, tmp_path: Path) -> None:
    kind, write = FORMATS[form]
    (tmp_path / "a").mkdir()
    write(tmp_path / "a")
    source = kind(path="a", root=str(tmp_path))
    expected = {item.locator: list(source.read(item, 100_000)) for item in source.manifest()}
    sent = source.model_dump_json()
    again = kind.model_validate_json(sent)
    assert {i.locator: list(again.read(i, 100_000)) for i in reversed(again.manifest())} == expected
    stamps = again.manifest()
    (tmp_path / "b").mkdir()
    (tmp_path / "a").rename(tmp_path / "b" / "a")
    moved = kind(path="a", root=str(tmp_path / "b"))
    assert {i.locator: list(moved.read(i, 100_000)) for i in moved.manifest()} == expected
    assert moved.manifest() == stamps and moved.identity() == source.identity()


@pytest.mark.parametrize("form", ["chatgpt", "claude", "discord", "telegram", "slack"])
def test_a_source_of_any_conversations_refuses_an_export_and_names_its_kind(form: str, tmp_path: Path) -> None:
    file = FORMATS[form][1](tmp_path)
    (refused,) = read_all(Conversations(path=file.name, root=str(file.parent)))
    assert isinstance(refused, Reject) and f"`kind: {form}`" in refused.reason
    named = read_all(Conversations(path=file.name, root=str(file.parent), text_field="text", speaker_field="user"))
    assert all(f"`kind: {form}`" not in reject.reason for reject in rejects(named))


def test_fields_of_conversations_can_be_named(tmp_path: Path) -> None:
    turn = {"who": "Ada", "what": "The oven is hot.", "at": "2026-03-02T09:30:00Z", "nr": 7, "text": "no", "id": "no"}
    session = {"room": "kitchen", "day": "monday", "lines": [turn]}
    (tmp_path / "a.json").write_text(json.dumps([session]))
    names = {"speaker_field": "who", "text_field": "what", "time_field": "at", "id_field": "nr"}
    source = Conversations(
        path="a.json", root=str(tmp_path), **names, turns_field="lines", tenant_field="room", session_field="day"
    )
    (document,) = documents(read_all(source))
    assert (document.tenant, document.session, document.text) == ("kitchen", "monday", "Ada: The oven is hot.")
    assert (document.turns[0].id, document.turns[0].speaker) == ("7", "Ada")
    assert document.turns[0].time == datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
    (tmp_path / "b.jsonl").write_text(json.dumps({"room": "kitchen", "day": "monday", **turn}))
    lines = source.model_copy(update={"path": "b.jsonl"})
    assert documents(read_all(lines))[0].text == document.text


def test_identity_of_conversations_has_only_fields_that_are_named() -> None:
    usual = Conversations(path="a").identity()
    assert set(usual) == {"kind", "suffixes", "captions", "max_json_bytes", "version", "pattern"}
    assert Conversations(path="a", text_field="what").identity() == {**usual, "text_field": "what"}


def test_recipes_name_the_kinds(tmp_path: Path) -> None:
    for kind in ("mail", "maildir", "chatgpt", "claude", "slack", "discord", "telegram", "whatsapp"):
        recipe = load_recipe({"name": "a", "bank": str(tmp_path), "sources": [{"kind": kind, "path": "x"}]})
        assert recipe.sources[0].kind == kind


# ---------------------------------------------------------------- assistants


def test_chatgpt_reads_the_path_that_is_shown() -> None:
    (talk,) = exports.chatgpt(2, 1)
    old = exports.node("old", "c0n0", [], "assistant", "an older answer", exports.BEGIN + 30.0)
    talk["mapping"]["old"] = old
    talk["mapping"]["c0n0"]["children"].insert(0, "old")
    source = chatgpt.ChatGPT(path="x")
    (document,) = read(source, [talk], "ada/conversations.json")
    assert isinstance(document, Document)
    assert said(document) == ["user: word000x bread rises", "assistant: word001x bread rises"]
    assert (document.tenant, document.collection, document.session) == ("ada", "Talk 0", "talk-0")
    assert [turn.time for turn in document.turns] == [
        datetime.fromtimestamp(exports.BEGIN + 60 * n, UTC) for n in range(2)
    ]
    branches = documents(read(chatgpt.ChatGPT(path="x", branches=True), [talk], "ada/conversations.json"))
    assert [d.text for d in branches] == [document.text, "assistant: an older answer"]
    talk["current_node"] = "old"
    assert said(documents(read(source, talk, "c.json"))[0])[1:] == ["assistant: an older answer"]


def test_chatgpt_leaves_out_what_is_hidden_and_counts_tools_and_pictures() -> None:
    (talk,) = exports.chatgpt(4, 1)
    nodes = talk["mapping"]
    nodes["c0n1"]["message"]["recipient"] = "python"
    nodes["c0n2"]["message"]["content"] = {
        "content_type": "multimodal_text",
        "parts": [{"content_type": "image_asset_pointer"}],
    }
    nodes["c0n3"]["message"]["content"] = {"content_type": "multimodal_text", "parts": [{"text": "spoken"}, "typed"]}
    entries = read(chatgpt.ChatGPT(path="x"), [talk], "c.json")
    assert [d.text for d in documents(entries)] == ["user: word000x bread rises\nassistant: spoken\ntyped"]
    assert [r.severity for r in rejects(entries)] == ["note", "note"]
    assert any("`tools: true`" in r.reason for r in rejects(entries))
    with_tools = documents(read(chatgpt.ChatGPT(path="x", tools=True), [talk], "c.json"))
    assert "word001x" in with_tools[0].text


def test_a_circle_of_nodes_ends() -> None:
    nodes = {
        name: exports.node(name, other, [other], "user", f"text {name}", 1.0)
        for name, other in (("a", "b"), ("b", "a"))
    }
    (document,) = documents(read(chatgpt.ChatGPT(path="x"), [{"mapping": nodes, "current_node": "a"}], "c.json"))
    assert document.text == "user: text b\nuser: text a"


def test_claude_takes_texts_of_attachments_as_turns() -> None:
    (talk,) = exports.claude(2, 1)
    talk["chat_messages"][0]["attachments"] = [{"file_name": "recipe.txt", "extracted_content": "Flour and water"}]
    talk["chat_messages"][1]["content"] = [{"type": "tool_use", "name": "web", "input": {"q": "rye"}}]
    talk["chat_messages"][1]["text"] = "old field"
    entries = read(claude.Claude(path="x"), [talk], "conversations.json")
    (document,) = documents(entries)
    assert said(document) == [
        "human: word000x bread rises",
        "human: [recipe.txt]\nFlour and water",
        "assistant: old field",
    ]
    assert document.turns[0].time == datetime(2026, 3, 2, 9, 30, 12, 500_000, tzinfo=UTC)
    assert (document.tenant, document.session, document.collection) == ("conversations", "talk-0", "Talk 0")
    without = documents(read(claude.Claude(path="x", attachments=False, tools=True), [talk], "c.json"))
    assert said(without[0])[1:] == ['assistant: [web] {"q": "rye"}']


def test_an_export_of_one_assistant_is_none_of_another() -> None:
    (entry,) = read(claude.Claude(path="x"), exports.chatgpt(), "conversations.json")
    assert isinstance(entry, Reject) and entry.severity == "empty" and "no conversations of Claude" in entry.reason


# ---------------------------------------------------------------- chats


def test_slack_threads_go_over_days_and_users_have_names(tmp_path: Path) -> None:
    exports.slack(tmp_path)
    day = tmp_path / "general" / "2026-03-03.json"
    more = [
        exports.slack_message(8, 90_000, text="Hi <@U1>, see <https://x.org/a|this> &amp; <#C1|general> <!here>"),
        {
            "type": "message",
            "subtype": "bot_message",
            "bot_id": "B1",
            "username": "ci",
            "text": "built",
            "ts": "1772530300.0",
        },
        {"type": "message", "subtype": "channel_join", "user": "U1", "text": "joined", "ts": "1772530301.0"},
    ]
    day.write_text(json.dumps(json.loads(day.read_text()) + more))
    entries = read_all(slack.Slack(path=".", root=str(tmp_path)))
    sessions = {d.session: d for d in documents(entries)}
    assert set(sessions) == {"2026-03-02", "2026-03-03", f"{exports.BEGIN}.000000"}
    thread = sessions[f"{exports.BEGIN}.000000"]
    assert said(thread) == ["Ada: word000x bread rises", "Ada: word004x bread rises", "Bob: word007x bread rises"]
    assert thread.turns[1].time is not None and thread.turns[0].time is not None
    assert thread.turns[1].time - thread.turns[0].time > timedelta(days=1)
    assert said(sessions["2026-03-03"])[-1] == "Ada: Hi @Bob, see this (https://x.org/a) & #general @here"
    assert {d.tenant for d in documents(entries)} == {"general"}
    assert [r.severity for r in rejects(entries)] == ["note", "note"]
    bots = documents(read_all(slack.Slack(path=".", root=str(tmp_path), bots=True)))
    assert any("ci: built" in d.text for d in bots)


def test_a_new_day_of_slack_reads_its_channel_again_and_no_other(tmp_path: Path) -> None:
    exports.slack(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "2026-03-02.json").write_text(json.dumps([exports.slack_message(1, 0)]))
    source = slack.Slack(path=".", root=str(tmp_path))
    before = source.manifest()
    assert [item.locator for item in before] == ["general/*.json", "other/*.json"] and source.manifest() == before
    (tmp_path / "general" / "2026-03-04.json").write_text("[]")
    general, other = source.manifest()
    assert general != before[0] and other == before[1]
    (tmp_path / "users.json").write_text("[]")
    assert not set(source.manifest()) & {general, other}, "names of users are part of all channels"


def test_discord_says_what_it_leaves_out() -> None:
    export = exports.discord(4)
    export["messages"][1]["author"]["isBot"] = True
    export["messages"][2]["type"] = "GuildMemberJoin"
    export["messages"][3]["content"] = ""
    entries = read(discord.Discord(path="x"), export, "general.json")
    (document,) = documents(entries)
    assert document.text == "Ada: word000x bread rises"
    assert (document.tenant, document.collection) == ("Bakers/general (2)", "Bakers/general")
    assert len([r for r in rejects(entries) if r.severity == "note"]) == 3


def test_a_package_of_discord_is_read_oldest_first(tmp_path: Path) -> None:
    FORMATS["discord package"][1](tmp_path)
    (document,) = documents(read_all(discord.Discord(path=".", root=str(tmp_path))))
    assert said(document) == [f"ada: {exports.word(n)}, bread" for n in range(8)]
    assert document.tenant == "general in Bakers (22)"


def test_telegram_keeps_chats_apart_and_sessions_end_at_pauses() -> None:
    export = exports.telegram(3, 2)
    first = export["chats"]["list"][0]["messages"]
    first[2]["date_unixtime"] = str(exports.BEGIN + 86_400)
    first[1]["type"] = "service"
    export["chats"]["list"][1]["name"] = None
    entries = read(telegram.Telegram(path="x"), export, "result.json")
    assert [(d.tenant, d.session, len(d.turns)) for d in documents(entries)] == [
        ("Chat 0 (4711)", "2026-03-02T09:30:12Z", 1),
        ("Chat 0 (4711)", "2026-03-03T09:30:12Z", 1),
        ("personal_chat (4712)", "2026-03-02T09:33:12Z", 3),
    ]
    assert said(documents(entries)[2])[0] == "Bob: word003x bread rises", "a list of parts is one text"
    alone = read(telegram.Telegram(path="x"), export["chats"]["list"][0], "result.json")
    assert alone == [entry for entry in entries if "4711" in entry.locator], "one chat alone has the same content"


def test_a_long_session_is_cut_at_its_longest_pause_and_no_message_is_lost() -> None:
    export = exports.discord(40)
    for n, message in enumerate(export["messages"]):
        message["timestamp"] = f"2026-03-02T{9 + (n > 17):02d}:{n:02d}:00+00:00"
    parts = documents(read(discord.Discord(path="x"), export, "general.json", 700))
    assert len(parts[0].turns) == 18, "the pause before the nineteenth message"
    assert {d.session for d in parts} == {"2026-03-02T09:00:00Z"}
    assert len({d.locator for d in parts}) == len(parts) and all(len(d.text.encode()) <= 700 for d in parts)
    assert exports.words_of(list(parts)) == {exports.word(n) for n in range(40)}
    export["messages"][3]["content"] = "long " * 200
    notes = rejects(read(discord.Discord(path="x"), export, "general.json", 700))
    assert [r.locator for r in notes] == ["general.json#4"] and "max_document_bytes" in notes[0].reason


def test_the_same_messages_in_two_formats_have_the_same_content() -> None:
    """Three ways to the same conversation: as an export, and as sessions of the general source."""
    turns = [{"speaker": ["Ada", "Bob"][n % 2], "text": f"{exports.word(n)} bread rises"} for n in range(4)]
    plain = documents(read(Conversations(path="x"), {"turns": turns}, "a.json"))[0].text
    talk = exports.telegram(4, 1)
    assert documents(read(telegram.Telegram(path="x"), talk, "result.json"))[0].text == plain
    lines = "".join(f"[{n + 10}.03.26, 10:30:0{n}] {t['speaker']}: {t['text']}\n" for n, t in enumerate(turns))
    chat = whatsapp.WhatsApp(path="x", pause_hours=1000.0)
    assert documents(read(chat, lines.encode(), "chat.txt"))[0].text == plain


@pytest.mark.parametrize(
    "data", [b"", b"   ", b"[]", b"{}", b"null", b"7", b'"x"', b"\xff\xfe[\0", b"[[[[", b"[" * 100_000]
)
def test_what_is_no_export_is_a_sentence(data: bytes) -> None:
    for form in ("chatgpt", "claude", "discord", "telegram", "slack", "whatsapp", "mbox"):
        entries = read(FORMATS[form][0](path="x"), data, "x.json")
        assert not documents(entries)
        assert all(entry.reason.endswith(".") for entry in rejects(entries))


def test_files_of_text_are_no_chats() -> None:
    assert isinstance(Folder(path="x"), Files)
    entries = read(whatsapp.WhatsApp(path="x"), b"No dates here.\n", "notes.txt")
    assert [r.severity for r in rejects(entries)] == ["reject"] and "kind: folder" in rejects(entries)[0].reason
