"""Tiny mailboxes and exports of chats as the real programs lay them out.

Every message holds a word of its own: "word000x", "word001x", ...
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

BEGIN = 1_772_443_812
"""2026-03-02T09:30:12Z"""


def word(number: int) -> str:
    return f"word{number:03d}x"


def node(name: str, parent: str | None, children: list[str], role: str, text: str, time: float, **more: Any) -> Any:
    message = {
        "id": name,
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": time,
        "update_time": None,
        "content": {"content_type": "text", "parts": [text]},
        "status": "finished_successfully",
        "end_turn": True,
        "weight": 1.0,
        "metadata": {},
        "recipient": "all",
        **more,
    }
    return {"id": name, "message": message, "parent": parent, "children": children}


def chatgpt(count: int = 4, conversations: int = 2) -> list[Any]:
    exported = []
    for c in range(conversations):
        names = [f"c{c}n{n}" for n in range(count)]
        hidden = {"is_visually_hidden_from_conversation": True}
        root, system = f"c{c}root", f"c{c}system"
        mapping = {
            root: {"id": root, "message": None, "parent": None, "children": [system]},
            system: node(system, root, names[:1], "system", "", 0.0, metadata=hidden),
        }
        for n, name in enumerate(names):
            parent = names[n - 1] if n else system
            role = "user" if n % 2 == 0 else "assistant"
            text = f"{word(c * count + n)} bread rises"
            mapping[name] = node(name, parent, names[n + 1 : n + 2], role, text, BEGIN + 60.0 * n)
        exported.append(
            {
                "title": f"Talk {c}",
                "create_time": float(BEGIN),
                "update_time": float(BEGIN + 600),
                "mapping": mapping,
                "moderation_results": [],
                "current_node": names[-1],
                "plugin_ids": None,
                "conversation_id": f"talk-{c}",
                "is_archived": False,
                "id": f"talk-{c}",
            }
        )
    return exported


def claude(count: int = 4, conversations: int = 2) -> list[Any]:
    def message(c: int, n: int) -> Any:
        text, time = f"{word(c * count + n)} bread rises", f"2026-03-02T09:3{n}:12.500000Z"
        block = {"start_timestamp": time, "stop_timestamp": time, "type": "text", "text": text, "citations": []}
        return {
            "uuid": f"c{c}m{n}",
            "text": text,
            "content": [block],
            "sender": "human" if n % 2 == 0 else "assistant",
            "created_at": time,
            "updated_at": time,
            "attachments": [],
            "files": [],
        }

    return [
        {
            "uuid": f"talk-{c}",
            "name": f"Talk {c}",
            "summary": "",
            "created_at": "2026-03-02T09:30:12.500000Z",
            "updated_at": "2026-03-02T09:40:12.500000Z",
            "account": {"uuid": "account-1"},
            "chat_messages": [message(c, n) for n in range(count)],
        }
        for c in range(conversations)
    ]


def discord(count: int = 8) -> Any:
    def message(n: int) -> Any:
        author: dict[str, Any] = {"id": "40", "name": "ada", "discriminator": "0000", "nickname": "Ada", "color": None}
        author["isBot"] = False
        author |= {
            "roles": [{"id": "7", "name": "maker", "color": None, "position": 1}],
            "avatarUrl": "https://x.org/a",
        }
        return {
            "id": str(9000 + n),
            "type": "Reply" if n == 3 else "Default",
            "timestamp": f"2026-03-02T09:30:{12 + n}.123+00:00",
            "timestampEdited": None,
            "callEndedTimestamp": None,
            "isPinned": False,
            "content": f"{word(n)} bread rises",
            "author": author,
            "attachments": [],
            "embeds": [],
            "stickers": [],
            "reactions": [{"emoji": {"id": "", "name": "+1", "code": "thumbsup"}, "count": 1, "users": []}],
            "mentions": [],
            "inlineEmojis": [],
        }

    return {
        "guild": {"id": "1", "name": "Bakers", "iconUrl": "https://x.org/g"},
        "channel": {"id": "2", "type": "GuildTextChat", "categoryId": "3", "category": "Text", "name": "general"},
        "dateRange": {"after": None, "before": None},
        "exportedAt": "2026-03-03T09:30:12.1+00:00",
        "messages": [message(n) for n in range(count)],
        "messageCount": count,
    }


def telegram(count: int = 4, chats: int = 2) -> Any:
    def message(n: int) -> Any:
        text = f"{word(n)} bread rises"
        return {
            "id": n + 1,
            "type": "message",
            "date": "2026-03-02T10:30:12",
            "date_unixtime": str(BEGIN + 60 * n),
            "from": "Ada" if n % 2 == 0 else "Bob",
            "from_id": f"user{n % 2}",
            "text": text if n % 2 == 0 else [text[:9], {"type": "bold", "text": text[9:]}],
            "text_entities": [{"type": "plain", "text": "bread"}],
        }

    listed = [
        {
            "name": f"Chat {c}",
            "type": "personal_chat",
            "id": 4711 + c,
            "messages": [message(c * count + n) for n in range(count)],
        }
        for c in range(chats)
    ]
    about = "Here is the data you requested. Remember: Telegram is ad free."
    return {"about": about, "personal_information": {"user_id": 1}, "chats": {"about": "All chats.", "list": listed}}


def slack_message(number: int, time: int, **more: Any) -> Any:
    user = f"U{number % 2}"
    text = f"{word(number)} bread rises"
    kind = {"client_msg_id": f"m{number}", "type": "message", "text": text, "user": user}
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": "x"}]}
    block = {"type": "rich_text", "elements": [section]}
    return {**kind, "ts": f"{BEGIN + time}.{number:06d}", "team": "T1", "blocks": [block], **more}


def slack(count: int = 8) -> dict[str, Any]:
    """The files of two days; message 0 opens a thread that message ``count`` // 2 and the last one answer, on the
    second day."""
    users = [
        {"id": "U0", "team_id": "T1", "name": "ada", "real_name": "Ada L", "profile": {"display_name": "Ada"}},
        {"id": "U1", "team_id": "T1", "name": "bob", "profile": {"real_name": "Bob", "display_name": ""}},
    ]
    half = count // 2
    thread = {"thread_ts": f"{BEGIN}.000000"}
    answers = {0, half, count - 1}
    times = [n * 60 + 86_400 * (n >= half) for n in range(count)]
    messages = [slack_message(n, times[n], **(thread if n in answers else {})) for n in range(count)]
    return {
        "users.json": users,
        "channels.json": [{"id": "C1", "name": "general", "members": ["U0", "U1"]}],
        "general/2026-03-02.json": messages[:half],
        "general/2026-03-03.json": messages[half:],
    }


def whatsapp(count: int = 8) -> str:
    lines = ["\u200e[28/02/26, 09:00:00] Bakers: \u200eMessages and calls are end-to-end encrypted."]
    for n in range(count):
        date = f"{n:02d}/03/26" if n else "28/02/26"
        lines.append(f"[{date}, 10:30:{12 + n}] {'AB'[n % 2]}da: {word(n)} bread")
        if n == 2:
            lines.append("rises on two lines")
    return "\r\n".join(lines) + "\r\n"


def letter(number: int, answers: int | None, sender: str = "Ada Lovelace <ada@example.org>") -> str:
    references = quoted = ""
    if answers is not None:
        references = f"In-Reply-To: <{answers}@example.org>\nReferences: <{answers}@example.org>\n"
        quoted = f"On Mon, 2 Mar 2026 at 10:30, Bob <bob@example.org> wrote:\n> {word(answers)}\n\n"
    return (
        f"From: {sender}\nTo: bakers@example.org\nSubject: {'Re: ' if references else ''}Bread\n"
        f"Message-ID: <{number}@example.org>\n{references}Date: Mon, 2 Mar 2026 10:30:{12 + number} +0100\n"
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
        f"{quoted}{word(number)} bread rises\n\n-- \nAda\nBakery\n"
    )


def mbox(count: int = 8) -> str:
    """Even letters answer letter 0, odd ones stand alone."""
    separator = "From ada@example.org Mon Mar  2 10:30:12 2026\n"
    return "".join(f"{separator}{letter(n, 0 if n and n % 2 == 0 else None)}\n" for n in range(count))


def discord_package() -> dict[str, str]:
    """The files of the package that Discord sends its users."""
    rows = [f'{10**17 + n},2026-03-02 09:30:{12 + n}.123000+00:00,"{word(n)}, bread",' for n in reversed(range(8))]
    return {
        "account/user.json": '{"id": "40", "username": "ada"}',
        "messages/index.json": '{"22": "general in Bakers"}',
        "messages/c22/channel.json": '{"id": "22", "type": 0}',
        "messages/c22/messages.csv": "\n".join(("ID,Timestamp,Contents,Attachments", *rows, "")),
    }


def letters() -> dict[str, str]:
    """Files of a letter each; all others answer the first."""
    return {f"{number}.eml": letter(number, 0 if number else None) for number in range(8)}


def maildir() -> dict[str, str]:
    places = (f"cur/{number}.host:2,S" if number % 2 else f"new/{number}.host" for number in range(8))
    return {"tmp/.keep": "", **dict(zip(places, letters().values(), strict=True))}


def _json(make: Callable[[], Any], indent: int | None) -> Callable[[], bytes]:
    return lambda: json.dumps(make(), indent=indent, ensure_ascii=False).encode()


def _each(make: Callable[[], dict[str, Any]]) -> dict[str, Callable[[], bytes]]:
    """What makes each of the files that ``make`` gives; their names do not change."""
    return {path: lambda path=path: _encoded(make()[path]) for path in make()}  # type: ignore[misc]


def _encoded(content: Any) -> bytes:
    return (content if isinstance(content, str) else json.dumps(content, indent=4)).encode()


SAMPLES: dict[str, tuple[str, dict[str, Callable[[], bytes]]]] = {
    "mbox": ("mail", {"bakers.mbox": lambda: mbox().encode()}),
    "eml": ("mail", _each(letters)),
    "maildir": ("maildir", _each(maildir)),
    "chatgpt": ("chatgpt", {"conversations.json": _json(chatgpt, None)}),
    "claude": ("claude", {"conversations.json": _json(claude, 1)}),
    "slack": ("slack", _each(slack)),
    "discord": ("discord", {"general.json": _json(discord, 2)}),
    "discord-package": ("discord", _each(discord_package)),
    "telegram": ("telegram", {"result.json": _json(telegram, 1)}),
    "whatsapp": ("whatsapp", {"WhatsApp Chat - Bakers/_chat.txt": lambda: whatsapp().encode()}),
}
"""Format -> (kind of its source, file -> what makes its content)."""
