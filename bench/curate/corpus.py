"""Documents to compare on: texts of a folder and mutated ones, as a Parquet file of ids and texts.

    python -m bench.curate.corpus OUT.parquet FOLDER... [--count 2000]

One document in five is mutated: line ends of Windows, line separators, marks apart from their letters, double and
no-break spaces, citations, repeats, ellipses, and characters strewn in.
"""

from __future__ import annotations

import argparse
import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

LARGEST = 30_000
STREWN = ("'", ".", "\t", "\x1c", "\x85", "\U0001f600", "\u4e2d", "\u00df", "{", "-", "\u2022", "[edit]")
SUFFIXES = (".html", ".txt", ".md", ".rst", ".py", "")


def texts(folders: list[Path]) -> Iterator[str]:
    """Readable texts below ``folders``, in an order drawn with a fixed seed; of HTML what resiliparse extracts."""
    from resiliparse.extract.html2text import extract_plain_text

    files = sorted({file for folder in folders for file in folder.rglob("*") if file.suffix in SUFFIXES})
    random.Random(7).shuffle(files)
    for number, file in enumerate(files):
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if file.suffix == ".html":
            text = extract_plain_text(text, main_content=number % 2 == 0)
        if 0 < len(text) <= LARGEST and "\0" not in text:
            yield text


def mutated(text: str, draw: random.Random) -> str:
    """``text`` in one of nine unusual forms."""
    text = text[:6000]
    forms = (
        lambda: text.replace("\n", "\r\n"),
        lambda: text.replace(". ", ".\u2028"),
        lambda: unicodedata.normalize("NFD", text.replace("e", "\u00e9")),
        lambda: text.replace(" ", "  "),
        lambda: text.replace(". ", ". [12] ").replace(", ", " [citation needed], "),
        lambda: text.replace(" ", "\u00a0", 200),
        lambda: "\n\n\n".join([text[:300]] * 7),
        lambda: text.replace(".", "...").replace("the", "the\u2026"),
        lambda: "".join(draw.choice([one, one, one, *STREWN]) if draw.random() < 0.1 else one for one in text),
    )
    return forms[draw.randrange(len(forms))]()


def documents(folders: list[Path], count: int) -> list[str]:
    """``count`` texts, a fifth of them mutated."""
    originals = [text for text, _ in zip(texts(folders), range(count), strict=False)]
    draw = random.Random(3)
    changed = [mutated(text, draw) for text in draw.sample(originals, count // 5)]
    return originals[: count - len(changed)] + changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    arguments = parser.parse_args()
    rows = documents(arguments.folders, arguments.count)
    ids = [str(number) for number in range(len(rows))]
    pq.write_table(pa.table({"id": ids, "text": rows}), arguments.out)
    print(f"{len(rows)} documents, {sum(len(text.encode()) for text in rows) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
