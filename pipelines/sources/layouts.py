"""Whose export a JSON file is: a source of JSON of no particular layout would lose speakers and times."""

from __future__ import annotations

from pipelines.sources import chatgpt, claude, discord, slack, telegram

HEAD = 1 << 16
"""Bytes of the beginning of a file by which its layout is known."""

EXPORTS = {
    "chatgpt": ("ChatGPT", chatgpt.recognise),
    "claude": ("Claude", claude.recognise),
    "slack": ("Slack", slack.recognise),
    "discord": ("Discord", discord.recognise),
    "telegram": ("Telegram", telegram.recognise),
}
"""Kind of a source -> whose exports it reads, and what knows them."""


def export_refused(name: str, head: bytes) -> str:
    """Why a source of no particular layout does not read a file, as a sentence; "" where it may."""
    for kind, (owner, recognise) in EXPORTS.items():
        if recognise(name, head):
            whole = ", with the folder of the whole export as its `path`" if kind == "slack" else ""
            return (
                f"It is an export of {owner}; read it with a source of `kind: {kind}`{whole}, which knows who spoke and"
                " when."
            )
    return ""
