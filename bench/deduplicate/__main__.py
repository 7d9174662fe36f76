"""Deduplication against its peers and the exact truth: pairs and removals, speed, memory.

The corpus is `bench.deduplicate.corpus`: 100,000 documents of Debian's documentation and 12,000 edits of them; the
truth is `bench.deduplicate.truth`. Times are CPU seconds of this process on one thread, from Arrow text (from Python
strings for the peers) to the decision, after compilation, which is printed. Peers get the same word 5-grams from a
regular expression and run on a sample of the same corpus; their rates do not depend on its size.

Expected on machine A of LOG.md (2 cores of an AMD EPYC; 4 min 40 s once corpus and truth are made): tokenise_rate 302
MB/s, sketch_rate 433 M/s, speed_vs_datasketch 32.5, speed_vs_rensa 10.8, speed_vs_gaoya 5.0, bloom_speed_vs_datasketch
70, bloom_bytes 61, bloom_extra_flags 3e-6, memory_growth 255 MB, pair_recall 0.9997, precision 1, removal_f1 0.9999.
On a busy machine C without AMX: increment_share 0.013.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.deduplicate.corpus import corpus, digest
from bench.deduplicate.index import bloom_rows, increment_row
from bench.deduplicate.ours import PERMUTATIONS, InMemory, bloom_only, verified
from bench.deduplicate.peers import datasketch_bloom, datasketch_lsh, gaoya_index, rensa_matrix
from bench.deduplicate.quality import memory_row, quality_rows
from bench.report import MissingPeer, Row, main, peer_library, tell
from mnemic.compiled import compiled
from operators.deduplicate import Signature
from operators.deduplicate.minhash import sketch
from operators.deduplicate.shingles import Shingler, slices

SAMPLE = 4_000
"""Documents that the peers get."""

Library = Callable[[Sequence[str]], None]
Ours = Callable[[pa.Array, pa.Array], None]


def measure(quick: bool) -> list[Row]:
    table = corpus()
    tell(f"corpus {digest(table)}, {len(table):,} documents")
    ids, texts = table["id"].combine_chunks(), table["text"].combine_chunks()
    started = time.process_time()
    verified(ids.slice(0, 300), texts.slice(0, 300))
    bloom_only(ids.slice(0, 300), texts.slice(0, 300))
    tell(f"  compilation and first use: {time.process_time() - started:.1f} s of CPU")
    return [
        *kernel_rows(texts),
        *speed_rows(table),
        *bloom_rows(quick),
        increment_row(quick),
        memory_row(),
        *quality_rows(table, InMemory(ids, texts, Signature())),
    ]


def kernel_rows(texts: pa.Array) -> list[Row]:
    """The tokenizer alone, and the sketch alone."""
    size = int(pc.sum(pc.binary_length(texts)).as_py())
    tokenizer = Shingler()
    read = statistics.median(seconds(lambda: [tokenizer.shingles(part) for part in slices(texts)]) for _ in range(3))
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, (2_000, 640), dtype=np.uint64)
    signature, smallest = np.empty(PERMUTATIONS, np.uint32), np.empty(PERMUTATIONS, np.uint64)

    def sketches() -> None:
        sketch_all(hashes, np.uint64(1), smallest, signature)

    sketches()
    rate = hashes.size / statistics.median(seconds(sketches) for _ in range(5)) / 1e6
    rows = [
        Row("tokenise_rate", "tokenise and shingle", size / read / 1e6, "MB/s", 200, 350),
        Row("sketch_rate", "signature kernel, 640 shingles a document", rate, "M/s", 80, 300),
    ]
    try:
        rensa = peer_library("rensa")
    except MissingPeer as error:
        tell(str(error))
        return rows
    offsets = np.arange(0, hashes.size + 1, 640, dtype=np.uint64)
    flat = hashes.ravel()
    theirs = statistics.median(
        seconds(lambda: rensa.RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, PERMUTATIONS, 1))
        for _ in range(5)
    )
    return [*rows, Row("sketch_rate_rensa", "rensa's standard sketch", hashes.size / theirs / 1e6, "M/s", peer="rensa")]


def speed_rows(table: pa.Table) -> list[Row]:
    """Documents a second against every peer that is installed."""
    rows = []
    checked, flags = "text to verified decision, documents/s", "text to Bloom flags, documents/s"
    for name, metric, library, ours, must, goal in (
        ("speed_vs_datasketch", checked, datasketch_lsh, verified, 15, 30),
        ("speed_vs_rensa", checked, rensa_matrix, verified, 4.5, 9),
        ("speed_vs_gaoya", checked, gaoya_index, verified, 3, 6.5),
        ("bloom_speed_vs_datasketch", flags, datasketch_bloom, bloom_only, 20, 50),
    ):
        try:
            value = ratio(library, ours, table)
        except MissingPeer as error:
            tell(str(error))
            continue
        rows.append(Row(name, metric, value, "x", must, goal, peer=library.__name__))
    return rows


def ratio(library: Library, ours: Ours, table: pa.Table) -> float:
    """How many times the documents a second of the peer, in the median of three interleaved pairs."""
    ids, texts = table["id"].combine_chunks(), table["text"].combine_chunks()
    sample = texts.slice(0, SAMPLE).to_pylist()
    ratios = []
    for _ in range(3):
        theirs = seconds(lambda: library(sample)) / len(sample)
        own = seconds(lambda: ours(ids, texts)) / len(texts)
        ratios.append(theirs / own)
        tell(f"  {library.__name__}: {1 / theirs:,.0f} documents/s, mnemic {1 / own:,.0f}")
    return statistics.median(ratios)


def seconds(action: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    started = time.process_time()
    action()
    return time.process_time() - started


@compiled
def sketch_all(hashes: Any, seed: Any, smallest: Any, signature: Any) -> None:
    for i in range(len(hashes)):
        sketch(hashes[i], hashes.shape[1], seed, smallest, signature)


if __name__ == "__main__":
    sys.exit(main("deduplicate", __doc__ or "", measure))
