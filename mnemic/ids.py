"""Identifiers: 128-bit BLAKE2b hashes written as 32 hexadecimal characters.

An id is made of what a thing *is* (source, locator, content, range, configuration), never of where or when it was
processed, so order, batch layout and worker count cannot enter it.
"""

from __future__ import annotations

import hashlib


def hash_bytes(data: bytes) -> str:
    """Hash of raw bytes, 32 hexadecimal characters."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def hash_parts(*parts: str | int) -> str:
    """Hash of several fields. Each field is preceded by its length, so ("ab", "c") and ("a", "bc") differ."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = str(part).encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def content_hash(text: str) -> str:
    """Hash of a document's text."""
    return hash_bytes(text.encode("utf-8", "surrogatepass"))


def document_id(source: str, locator: str, content: str, *stated: str) -> str:
    """Id of a document: source name, locator relative to the source's root, content hash, and what the source states.

    ``stated`` is everything else that later steps read (collection, tenant, session, speaker, time): a document whose
    date was corrected is another row, and what was made of the old one goes with it.
    """
    return hash_parts("document", source, locator, content, *stated)


def entity_id(tenant: str, name: str) -> str:
    """Id of a name in a tenant; two tenants share no entity."""
    return hash_parts("entity", tenant, name)


def unit_draw(seed: int, *parts: str) -> float:
    """A number in [0, 1) that depends on the seed and the parts alone; the seeded choice of packages and documents."""
    return int(hash_parts("draw", seed, *parts)[:13], 16) / 16**13
