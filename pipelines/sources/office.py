"""What the zips of office programs begin with."""

from __future__ import annotations

ZIP = b"PK\x03\x04"


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
