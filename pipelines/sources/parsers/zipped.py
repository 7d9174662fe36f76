"""Formats that are zips: their members, with the sizes counted while they are read, since a zip can lie about them."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

from pipelines.sources.parsers.process import Unparsed
from pipelines.sources.parsers.xml import events

RATIO = 100
"""All members together may have that many times the bytes of the file, and `SMALL` more."""

SMALL = 4 << 20
MOST_MEMBERS = 100_000
_DAMAGES = (zipfile.BadZipFile, zlib.error, ValueError, OSError, NotImplementedError, EOFError)


class Members:
    """The members of a zip. Raises `Unparsed` where it is none, is encrypted, or holds more than is read."""

    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGES as error:
            raise Unparsed("The file is damaged: it is no whole zip; copy it again, or save it anew.") from error
        self._infos = {info.filename: info for info in self._zip.infolist()}
        if len(self._infos) > MOST_MEMBERS:
            raise Unparsed(f"The file has more than {MOST_MEMBERS:,} members; it is not read, since it may be a bomb.")
        self._left = RATIO * len(data) + SMALL

    @property
    def names(self) -> list[str]:
        return sorted(self._infos)

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def read(self, name: str) -> bytes:
        """A member's content; see the class for what is raised."""
        info = self._infos.get(name)
        if info is None:
            raise Unparsed(f"The part '{name[:100]}' is missing; save the file anew with the program that made it.")
        if info.flag_bits & 1:
            raise Unparsed("The file is encrypted; save a copy without a password.")
        pieces = []
        try:
            with self._zip.open(info) as member:
                while piece := member.read(1 << 18):
                    self._left -= len(piece)
                    if self._left < 0:
                        raise Unparsed(
                            f"The file unpacks to more than {RATIO} times its size, as bombs do; it is not read."
                        )
                    pieces.append(piece)
        except _DAMAGES as error:
            raise Unparsed(f"The part '{name[:100]}' is damaged; copy the file again, or save it anew.") from error
        return b"".join(pieces)

    def related(self, name: str) -> dict[str, str]:
        """Id -> member, of the relations that a part of an office document has (OPC)."""
        folder, _, base = name.rpartition("/")
        relations = f"{folder}/_rels/{base}.rels".lstrip("/")
        if relations not in self:
            return {}
        targets = {}
        for event, tag, attributes in events(self.read(relations)):
            if event == "start" and tag == "Relationship" and attributes.get("TargetMode") != "External":
                targets[attributes.get("Id", "")] = inside(folder, attributes.get("Target", ""))
        return targets


def inside(folder: str, target: str) -> str:
    """The member that ``target`` names from a folder of the zip; ".." ends at the zip's root."""
    parts = [] if target.startswith("/") else folder.split("/")
    for part in target.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(part for part in parts if part)


def core_properties(members: Members) -> dict[str, Any]:
    """What an office document states of itself."""
    if "docProps/core.xml" not in members:
        return {}
    values: dict[str, str] = {}
    tag = ""
    for event, name, value in events(members.read("docProps/core.xml")):
        if event == "start":
            tag = name
        elif event == "text" and value.strip():
            values[tag] = values.get(tag, "") + value.strip()[:2000]
        elif event == "end":
            tag = ""
    return _named(values)


def _named(values: Mapping[str, str]) -> dict[str, Any]:
    names = {"title": "title", "creator": "author", "created": "date", "language": "language", "subject": "description"}
    stated: dict[str, Any] = {field: values[name] for name, field in names.items() if values.get(name)}
    words = [word.strip() for word in values.get("keywords", "").replace(";", ",").split(",") if word.strip()]
    return {**stated, "tags": words[:100]} if words else stated
