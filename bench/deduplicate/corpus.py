"""A corpus of real text with natural and planted near-duplicates, for `bench.deduplicate`.

Natural part: the text of documentation packages of Debian (`bench.deduplicate.debian`; several versions of one manual,
so near-duplicates occur by themselves; English, German, Spanish, French, Japanese, Portuguese, Russian). Planted part:
`bench.deduplicate.edits`. The same packages and the same seed give the same texts; packages and corpus stay in the
cache folder.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import random

import pyarrow as pa
import pyarrow.parquet as pq

from bench.deduplicate.debian import PACKAGES, download, read_deb
from bench.deduplicate.edits import plant
from bench.places import CACHE
from bench.report import tell

FOLDER = CACHE / "deduplicate"
FILE = FOLDER / "corpus.parquet"

DOCUMENTS, PLANTED, SEED = 100_000, 12_000, 20240611
PART_CHARACTERS, FEWEST_WORDS = 8000, 20


def corpus() -> pa.Table:
    """The corpus: id, text, dup_of ("" where natural), jaccard, edit. Made in about four minutes, then cached."""
    if not FILE.exists():
        natural = _natural()
        rows = [(name, text, "", 0.0, "") for name, text in natural] + plant(natural, PLANTED, SEED)
        random.Random(SEED + 1).shuffle(rows)
        columns = [pa.array(column) for column in zip(*rows, strict=True)]
        columns[1] = columns[1].cast(pa.large_string())
        table = pa.table(columns, names=["id", "text", "dup_of", "jaccard", "edit"])
        pq.write_table(table, FILE, row_group_size=8192)
    return pq.read_table(FILE)


def _natural() -> list[tuple[str, str]]:
    """Names and texts of at most 100,000 documents of the packages."""
    folder = FOLDER / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    present = {path.name.split("_")[0] for path in folder.glob("*.deb")}
    for name in PACKAGES:
        if name not in present and not download(name, folder):
            tell(f"Debian has no package {name} here; the corpus is made without it.")
    files = sorted(folder.glob("*.deb"))
    if not files:
        raise SystemExit(
            f"No documentation package of Debian could be downloaded to {folder}: run apt-get update, or name a cache "
            "with some in MNEMIC_BENCH_CACHE."
        )
    jobs = [(str(file), PART_CHARACTERS, FEWEST_WORDS) for file in files]
    with multiprocessing.Pool() as pool:
        natural = sorted(part for parts in pool.map(read_deb, jobs, chunksize=1) for part in parts)
    if len(natural) > DOCUMENTS:
        natural = sorted(random.Random(SEED).sample(natural, DOCUMENTS))
    return natural


def digest(table: pa.Table) -> str:
    """Of ids, texts and origins: which corpus a number was measured on."""
    state = hashlib.sha256()
    for row in zip(*(table[name].to_pylist() for name in ("id", "text", "dup_of")), strict=True):
        state.update("\0".join(row).encode())
    return state.hexdigest()[:16]
