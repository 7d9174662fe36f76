"""Source code: a document a function or class, with its comments and docstring, and one for what is beside them.

Python is parsed; in other languages a piece ends where a line at the left margin closes a block, which holds for the
way in which nearly everybody formats. Short files of these stay whole. Metadata: `programming_language`, `symbol` (the
name) and `line`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from pipelines.sources.code_pieces import Piece, pieces_of, python_pieces
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.text import decode_text
from pipelines.sources.whole import WholeFiles, document

LANGUAGES = {
    "python": (".py", ".pyi", ".pyw"),
    "c": (".c", ".h"),
    "c++": (".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".cu", ".cuh"),
    "c#": (".cs",),
    "clojure": (".clj", ".cljs"),
    "dart": (".dart",),
    "elixir": (".ex", ".exs"),
    "erlang": (".erl", ".hrl"),
    "fortran": (".f90", ".f95", ".f03"),
    "go": (".go",),
    "haskell": (".hs",),
    "java": (".java",),
    "javascript": (".js", ".jsx", ".mjs", ".cjs"),
    "julia": (".jl",),
    "kotlin": (".kt", ".kts"),
    "lua": (".lua",),
    "ocaml": (".ml", ".mli"),
    "perl": (".pl", ".pm"),
    "php": (".php",),
    "r": (".r",),
    "ruby": (".rb",),
    "rust": (".rs",),
    "scala": (".scala",),
    "shell": (".sh", ".bash", ".zsh"),
    "sql": (".sql",),
    "swift": (".swift",),
    "typescript": (".ts", ".tsx", ".mts", ".cts"),
    "zig": (".zig",),
}
LANGUAGE = {suffix: language for language, suffixes in LANGUAGES.items() for suffix in suffixes}

LONGEST_LINE = 20_000
"""Characters of a line; longer ones are written by programs."""


class SourceCode(WholeFiles):
    """Code below ``path``. ``lines``: a class of more lines is parted into its methods, another file into pieces."""

    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[str]] = frozenset({"folder"})

    kind: Literal["code"] = "code"
    name: str = "code"
    suffixes: list[str] = Field(default=sorted(LANGUAGE), min_length=1)
    max_bytes: int = Field(default=5_000_000, gt=0)
    lines: int = Field(default=120, gt=0)

    def parse_bytes(self, data: bytes, locator: str, limit: int) -> Iterator[Document | Reject]:
        text = decode_text(data, locator)
        if isinstance(text, Reject):
            yield text
            return
        if max(map(len, text.split("\n"))) > LONGEST_LINE:
            yield Reject(locator, f"A line has more than {LONGEST_LINE:,} characters, as programs write; leave it out.")
            return
        language = LANGUAGE.get(os.path.splitext(locator)[1].lower(), "")
        fault = ""
        if language == "python":
            pieces, fault = python_pieces(text, self.lines)
        else:
            pieces = pieces_of(text, self.lines)
        names: Counter[str] = Counter()
        for piece in pieces:
            yield self._document(piece, locator, limit, language, names)
        if fault:
            yield Reject(locator, f"It cannot be parsed as Python ({fault}), and was parted by its lines.", "note")

    def _document(
        self, piece: Piece, locator: str, limit: int, language: str, names: Counter[str]
    ) -> Document | Reject:
        names[piece.name] += 1
        repeat = f"#{names[piece.name]}" if names[piece.name] > 1 else ""
        place = f"{locator}#{piece.name}{repeat}" if piece.name or repeat else locator
        stated = {"programming_language": language, "symbol": piece.name, "line": piece.line}
        return document(place, piece.text, limit, stated)


def recognise(name: str, head: bytes) -> bool:
    """Whether a file is code by its name, or by a first line that names its interpreter."""
    if b"\0" in head:
        return False
    return os.path.splitext(name)[1].lower() in LANGUAGE or (head.startswith(b"#!") and b"\n" in head[:200])
