"""What the zips of office programs begin with."""

from __future__ import annotations

ZIP = b"PK\x03\x04"
_OPEN_DOCUMENT = b"application/vnd.oasis.opendocument."


def is_office(name: str, head: bytes, folder: bytes, suffixes: tuple[str, ...]) -> bool:
    """Whether the zip that begins with ``head`` has members in ``folder``; the name decides where the head ends first.

    Large members can stand before the first one that tells.
    """
    if not head.startswith(ZIP):
        return False
    if folder in head:
        return True
    others = {b"word/", b"ppt/", b"xl/"} - {folder}
    return name.lower().endswith(suffixes) and not any(other in head for other in others)


def open_document(head: bytes) -> bytes:
    """The media type of OpenDocument with which the zip that begins with ``head`` says what it is; b"" for none.

    It is the first member, `mimetype`, which is not packed.
    """
    if not head.startswith(ZIP) or head[30:38] != b"mimetype":
        return b""
    begin = 38 + int.from_bytes(head[28:30], "little")  # behind what the header adds
    stated = head[begin : begin + 80]
    return stated if stated.startswith(_OPEN_DOCUMENT) else b""
