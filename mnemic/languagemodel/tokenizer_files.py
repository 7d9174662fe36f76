"""The identity of a tokenizer by its files, without loading it: what turns text into tokens, not the weights beside it.

Planning needs it, and loading a tokenizer takes seconds. The same tokenizer in files of another format has another
hash here; the lock of a memory, `mnemic.languagemodel.lock.tokenizer_hash`, is of the loaded one and the same for both.
"""

from __future__ import annotations

import struct
from pathlib import Path

from mnemic.errors import ModelError
from mnemic.ids import hash_bytes, hash_parts
from mnemic.languagemodel.describe import open_gguf, read_text, skip_value
from mnemic.models import TOKENIZER_FILES, file_digest, locate


def tokenizer_files_hash(address: str) -> str:
    """Hash of the tokenizer of the model at ``address``: 32 hexadecimal characters, equal for equal files.

    Of a folder its files of the tokenizer, of a GGUF file the fields of its header that begin with "tokenizer.". Raises
    `ModelError` where there is no tokenizer.
    """
    path = locate(address)
    parts = _of_header(path) if path.is_file() else _of_folder(path)
    if not parts:
        raise ModelError(
            f"The model {address!r} has no tokenizer in {path}; put its tokenizer.json there, or give another model."
        )
    return hash_parts("tokenizer", *(part for name, digest in sorted(parts.items()) for part in (name, digest)))


def _of_folder(folder: Path) -> dict[str, str]:
    files = {file for pattern in TOKENIZER_FILES for file in folder.glob(pattern) if file.is_file()}
    return {file.name: file_digest(file) for file in files}


def _of_header(path: Path) -> dict[str, str]:
    fields: dict[str, str] = {}
    with open_gguf(path) as (stream, pairs):
        for _ in range(pairs):
            key = read_text(stream)
            begin = stream.tell()
            skip_value(stream, *struct.unpack("<I", stream.read(4)))
            if key.startswith("tokenizer."):
                end = stream.tell()
                stream.seek(begin)
                fields[key] = hash_bytes(stream.read(end - begin))
    return fields
