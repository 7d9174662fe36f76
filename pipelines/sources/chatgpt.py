"""ChatGPT's export: `conversations.json`, or the files `conversations-000.json` and on of larger ones.

    [{"title": "Bread", "create_time": 1772443812.5, "conversation_id": "c1", "current_node": "n2", "mapping": {
        "n1": {"id": "n1", "parent": null, "children": ["n2"], "message": {
            "id": "n1", "author": {"role": "user", "name": null}, "create_time": 1772443812.5, "recipient": "all",
            "content": {"content_type": "text", "parts": ["How long does it rise?"]}, "metadata": {}}}}}]

The messages of a conversation are a tree, since a question can be edited and an answer asked for again. Read is the
path that ends in `current_node`, which ChatGPT shows; with ``branches`` each other branch is a document too.

A conversation is a session, its title the collection, and the export (its folder or file) the tenant. Speakers are the
roles `user` and `assistant`, or a tool's name. Hidden nodes, system prompts and what the model thinks are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, BinaryIO, ClassVar, Literal

from pydantic import Field

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.exports import ExportLayout, conversations, export_name
from pipelines.sources.files import Files
from pipelines.sources.json_stream import objects
from pipelines.sources.json_values import MARK, Unusable, kind_of
from pipelines.sources.times import read_time
from pipelines.sources.transcript import Chat, LeftOut, Message, Transcript, usable_name, usable_text

_LAYOUT = re.compile(rb'(?<!\\)"mapping"\s*:\s*\{\s*(?:\}|"[^"]{1,80}"\s*:\s*\{\s*"(?:id|message|parent|children)")')
_CONTEXT = frozenset(("user_editable_context", "model_editable_context", "thoughts", "reasoning_recap"))
"""Kinds of content that ChatGPT does not show as messages."""


def recognise(name: str, head: bytes) -> bool:
    """A list or an object whose conversations have a `mapping` of nodes."""
    text = head.removeprefix(MARK).lstrip()
    return text[:1] in (b"[", b"{") and bool(_LAYOUT.search(text))


class ChatGPT(Files):
    """ChatGPT's `conversations.json` below ``path``.

    ``branches``: read abandoned branches too, false. ``tools``: take calls of tools and their results, false.
    ``max_json_bytes``: the longest conversation, in characters of JSON.
    """

    version: ClassVar[int] = 1

    kind: Literal["chatgpt"] = "chatgpt"
    name: str = "chatgpt"
    suffixes: list[str] = Field(default=[".json"], min_length=1)
    branches: bool = False
    tools: bool = False
    max_json_bytes: int = Field(default=64_000_000, gt=0)

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        left = LeftOut(locator)
        take = partial(self._conversation, locator=locator, left=left, limit=max_document_bytes)
        layout = ExportLayout("ChatGPT", _is_conversation, _salvage, _renamed)
        yield from conversations(file, locator, self.max_json_bytes, layout, take)
        yield from left.told()

    def _conversation(
        self, value: Mapping[str, Any], number: int, *, locator: str, left: LeftOut, limit: int
    ) -> Iterator[Document | Reject]:
        own = usable_name(value.get("conversation_id")) or usable_name(value.get("id")) or str(number)
        title = usable_name(value.get("title"))
        metadata = {"title": title} if title else {}
        chat = Chat(f"{locator}#", export_name(locator), title or own, metadata)
        nodes = {name: node for name, node in value["mapping"].items() if isinstance(node, dict)}
        nodes |= {name: node for name, node in value.items() if _is_node(node)}  # where a brace ends the mapping early
        for name, node in value["mapping"].items():
            if name in nodes:
                continue
            reason = f"The node is {kind_of(node)}, not an object; correct it."
            yield Reject(f"{locator}#{own}/{usable_name(name)}", reason)
        paths = _paths(nodes, value.get("current_node"))
        turns = 0
        for leaf, path in paths if self.branches else paths[:1]:
            session = own if leaf is None else f"{own}/{usable_name(leaf)}"
            transcript = Transcript(chat, session, limit, read_time(value.get("create_time")))
            for name in path:
                place = f"{locator}#{own}/{usable_name(name)}"
                try:
                    message = self._message(nodes[name], name, place, left)
                except Unusable as error:
                    yield Reject(place, str(error), error.severity)
                    continue
                if message is not None:
                    turns += 1
                    yield from transcript.add(message)
            yield from transcript.close()
        if not turns:
            yield Reject(f"{locator}#{own}", "The conversation holds no message that can be used.", "empty")

    def _message(self, node: Mapping[str, Any], name: str, place: str, left: LeftOut) -> Message | None:
        """None for what is not shown, or is left out and counted. Raises `Unusable`."""
        record = node.get("message")
        if record is None:
            return None
        content = record.get("content") if isinstance(record, dict) else None
        if not isinstance(record, dict) or not isinstance(content, dict):
            raise Unusable("The message of the node has no `content` that is an object; correct it.")
        author, metadata = record.get("author"), record.get("metadata")
        role = author.get("role") if isinstance(author, dict) else None
        hidden = isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation") is True
        if hidden or role == "system" or content.get("content_type") in _CONTEXT:
            return None
        if (role == "tool" or record.get("recipient") not in ("all", None)) and not self.tools:
            left.add("to and from tools, which `tools: true` takes", place)
            return None
        try:
            text = usable_text(_text(content), "the message")
        except Unusable as error:
            if error.severity != "empty":
                raise
            left.add("without text (pictures, files)", place)
            return None
        speaker = usable_name(author.get("name")) if isinstance(author, dict) and role == "tool" else ""
        return Message(
            usable_name(name), text, speaker or usable_name(role), read_time(record.get("create_time")), place
        )


def _text(content: Mapping[str, Any]) -> str:
    """The text of a message: its parts that are text, or have one (what was said aloud), or its one text."""
    parts = content.get("parts")
    if isinstance(parts, list):
        texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
        return "\n".join(text for text in texts if isinstance(text, str) and text.strip())
    text = content.get("text", content.get("result", ""))
    if not isinstance(text, str):
        raise Unusable(f"The text of the message is {kind_of(text)}, not a string; correct it.")
    return text


def _paths(nodes: Mapping[str, Mapping[str, Any]], current: object) -> list[tuple[str | None, list[str]]]:
    """The path to the current node, under None, then of every other leaf what is on no path before it."""
    above: dict[str, str] = {}
    for name, node in nodes.items():
        children = node.get("children")
        for child in children if isinstance(children, list) else ():
            if isinstance(child, str):
                above.setdefault(child, name)
    for name, node in nodes.items():
        parent = node.get("parent")
        if isinstance(parent, str) and (parent in nodes or parent in above):
            above[name] = parent
    parents = set()
    for name in nodes:
        parent = above.get(name)
        while parent is not None and parent not in parents:
            parents.add(parent)
            parent = None if parent in nodes else above.get(parent)  # on past one that is not there
    leaves = [name for name in nodes if name not in parents]
    last = current if isinstance(current, str) and current in nodes else None
    if last is None:  # the newest leaf; all nodes stand in a circle where there is none
        last = max(leaves, key=lambda name: (_seconds(nodes[name]), name), default=next(iter(nodes), None))
    paths: list[tuple[str | None, list[str]]] = []
    passed: set[str] = set()
    for leaf in [last, *(leaf for leaf in leaves if leaf != last)] if last is not None else []:
        path: list[str] = []
        step: str | None = leaf
        while step is not None and step not in passed:
            passed.add(step)
            if step in nodes:
                path.append(step)
            step = above.get(step)
        paths.append((leaf if paths else None, path[::-1]))
    return paths


def _seconds(node: Mapping[str, Any]) -> float:
    message = node.get("message")
    time = read_time(message.get("create_time")) if isinstance(message, dict) else None
    return time.timestamp() if time else 0.0


def _is_conversation(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("mapping"), dict)


def _is_node(value: Any) -> bool:
    return isinstance(value, dict) and "message" in value and ("parent" in value or "children" in value)


def _renamed(value: dict[str, Any]) -> Any:
    for nodes in value.values():
        if isinstance(nodes, dict) and any(map(_is_node, nodes.values())):
            return {**value, "mapping": nodes}
    return None


def _salvage(text: str) -> Any:
    nodes = {node["id"]: node for node in objects(text, _is_node) if isinstance(node.get("id"), str)}
    if not nodes:
        return None
    value: dict[str, Any] = {"mapping": nodes}
    for key in ("title", "conversation_id", "current_node"):
        if matches := re.findall(rf'(?<!\\)"{key}"\s*:\s*"([^"\\]*)"', text):
            value[key] = matches[-1]
    return value
