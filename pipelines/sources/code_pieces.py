"""Code in pieces that mean something alone; together they are all of the file, line for line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.sources.docstrings import UnreadableCode, parse_code


@dataclass(frozen=True)
class Piece:
    """``name`` is that of the function or class, "" for what stands beside all of them; ``line`` is its first one."""

    name: str
    line: int
    text: str


_NAME = re.compile(
    r"\b(?:function|func|fn|fun|def|defp|defmodule|sub|class|struct|enum|union|trait|impl|interface|protocol|extension"
    r"|object|record|module|namespace|procedure|macro|type)\b[ \t]*(?:\([^)\n]{0,200}\)[ \t]*)?([A-Za-z_][\w:.$]*)"
)
_CALL = re.compile(r"([A-Za-z_][\w:.]*)[ \t]*\(")
_ASSIGNED = re.compile(r"(?:^|\b(?:const|let|var|val)[ \t]+)([A-Za-z_][\w.]*)[ \t]*(?:=|<-|:)")
_CLOSES = re.compile(r"(?:[})\]]|end\b|END\b|fi\b|done\b|esac\b)")
_COMMENT = ("//", "/*", " *", "*/", "#", "--", ";;", "%", "@", "[")


def python_pieces(text: str, longest: int) -> tuple[list[Piece], str]:
    """(pieces, why it cannot be parsed or ""): each top-level function and class, and the rest of the module.

    A class of more than ``longest`` lines is its head and its methods. Decorators and the comments right above belong
    to what they stand at. What cannot be parsed is parted as other languages are.
    """
    lines = text.split("\n")
    try:
        module = parse_code(text.encode("utf-8", "surrogatepass"))
    except UnreadableCode as error:
        return pieces_of(text, longest), str(error)
    spans: list[tuple[int, int, str]] = []
    for node in module.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        start, end = _span(node, lines, spans)
        if isinstance(node, ast.ClassDef) and end - start > longest:
            spans.extend(_parted_class(node, start, end, lines))
        else:
            spans.append((start, end, node.name))
    return _cut(lines, spans), ""


def _span(node: ast.stmt, lines: list[str], before: list[tuple[int, int, str]], floor: int = 0) -> tuple[int, int]:
    """Lines [start, end) of a definition, with decorators and the comments right above it."""
    decorators = getattr(node, "decorator_list", [])
    start = min([node.lineno, *(decorator.lineno for decorator in decorators)]) - 1
    floor = max(floor, before[-1][1] if before else 0)
    while start > floor and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    return max(start, floor), max(node.end_lineno or node.lineno, start + 1)


def _parted_class(node: ast.ClassDef, start: int, end: int, lines: list[str]) -> list[tuple[int, int, str]]:
    """The class without its methods, and these; what stands between methods goes to the one before."""
    methods: list[tuple[int, int, str]] = []
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first, last = _span(child, lines, methods, max(start, node.lineno))
            methods.append((first, last, f"{node.name}.{child.name}"))
    if not methods:
        return [(start, end, node.name)]
    ends = [*(first for first, _, _ in methods[1:]), end]
    parted = [(first, last, name) for (first, _, name), last in zip(methods, ends, strict=True) if last > first]
    return [(start, methods[0][0], node.name), *parted]


def _cut(lines: list[str], spans: Iterable[tuple[int, int, str]]) -> list[Piece]:
    """The pieces of ``spans``, which do not overlap, after one of all other lines."""
    pieces: list[Piece] = []
    rest: list[str] = []
    place = 0
    for start, end, name in spans:
        rest.extend(lines[place:start])
        pieces.append(Piece(name, start + 1, "\n".join(lines[start:end]).strip("\n")))
        place = end
    rest.extend(lines[place:])
    beside = re.sub(r"\n{3,}", "\n\n", "\n".join(rest)).strip("\n")
    return [*([Piece("", 1, beside)] if beside.strip() else []), *pieces]


def pieces_of(text: str, longest: int) -> list[Piece]:
    """Pieces of a file in any language; a file of at most ``longest`` lines is one.

    A piece ends behind a line that closes a block at the left margin, or at a blank line before a line at the margin
    where it has ``longest`` lines already.
    """
    lines = text.split("\n")
    if len(lines) <= longest:
        return [Piece("", 1, text.strip("\n"))]
    pieces: list[Piece] = []
    start = 0
    for number in range(1, len(lines) + 1):
        if number < len(lines) and not _ends(lines, start, number, longest):
            continue
        piece = "\n".join(lines[start:number])
        if piece.strip():
            first = start + len(piece) - len(piece.lstrip("\n"))
            pieces.append(Piece(_name_of(lines[start:number]), first + 1, piece.strip("\n")))
        start = number
    return pieces


def _ends(lines: list[str], start: int, number: int, longest: int) -> bool:
    before, line = lines[number - 1], lines[number]
    if _CLOSES.match(before) and not line.startswith((" ", "\t", "}", ")", "]")):
        return True
    return number - start >= longest and not before.strip() and bool(line.strip()) and not line[0].isspace()


def _name_of(lines: list[str]) -> str:
    """The name that the first line at the left margin defines, "" for none."""
    for line in lines:
        if not line.strip() or line[0].isspace() or line.startswith(_COMMENT) or _CLOSES.match(line):
            continue
        for pattern in (_NAME, _CALL, _ASSIGNED):
            if match := pattern.search(line, 0, 500):
                return match[1].strip(":.")[:200]
    return ""
