"""Deduplication against its peers and against the exact truth: what is found, how fast, in how much memory.

The corpus is `bench.dedup_corpus`: 100,000 documents of Debian's documentation and 12,000 edits of them; the truth is
`bench.dedup_truth`. Times are CPU seconds of this process on one thread, from Arrow text (from Python strings for the
peers) to the decision, after compilation, which is printed. Peers get the same word 5-grams from a regular expression
and run on a sample of the same corpus; their rates do not depend on its size. They are installed from
`bench/requirements.txt`.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.dedup_corpus import corpus
from bench.dedup_index import bloom_rows, increment_row
from bench.dedup_quality import memory_row, quality_rows
from bench.report import Row, main
from mnemic.compiled import compiled
from mnemic.schema import TIME
from operators.deduplicate import Deduplicate, Signature
from operators.deduplicate.bands import by_band, keys_of, run_of
from operators.deduplicate.bloom import BloomFilter, share_of_error
from operators.deduplicate.minhash import sketch
from operators.deduplicate.shingles import Shingler, slices

SAMPLE = 4_000
"""Documents that the peers get."""

WORD = re.compile(r"\w+")
PERMUTATIONS, BANDS, ROWS = 128, 16, 8


class InMemory:
    """A corpus of Arrow columns, as `Deduplicate` reads it; signatures are made of the texts."""

    def __init__(self, ids: pa.Array, texts: pa.Array, signature: Signature) -> None:
        sign = signature.open("cpu")
        signed = [sign(pa.record_batch({"text": part}))[0] for part in slices(texts, 1 << 25)]
        signatures = pa.Table.from_batches(signed)
        none = pa.array([""]).take(pa.array(np.zeros(len(ids), np.int8)))
        columns = {"id": ids, "tenant": none, "content": ids, "time": pa.nulls(len(ids), TIME)}
        columns |= {"length": pc.cast(pc.utf8_length(texts), pa.int64()), "text": texts}
        self.table = pa.table({**columns, **{name: signatures[name] for name in signatures.column_names}})

    def __len__(self) -> int:
        return len(self.table)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        start = 0
        for batch in self.table.select(list(columns)).to_batches(8192):
            yield np.arange(start, start + len(batch), dtype=np.uint64), batch
            start += len(batch)

    def take_rows(self, numbers: np.ndarray, columns: Sequence[str]) -> pa.Table:
        return self.table.select(list(columns)).take(pa.array(np.asarray(numbers, np.int64)))

    def earlier(self, numbers: np.ndarray) -> None:
        return None


def verified(ids: pa.Array, texts: pa.Array) -> None:
    """From text to verified decision."""
    Deduplicate().fit(InMemory(ids, texts, Signature()), "cpu", lambda done, total: None)


def bloom_only(ids: pa.Array, texts: pa.Array) -> None:
    """From text to flags by one Bloom filter a band, in one pass."""
    filters = [BloomFilter(len(texts), share_of_error(1e-5, BANDS)) for _ in range(BANDS + 1)]
    for part in slices(texts, 1 << 22):
        forms, signatures = Shingler().signatures(part, PERMUTATIONS, 1)
        rows = np.arange(len(part), dtype=np.uint64)
        keys = keys_of(forms, signatures, np.zeros(len(part), np.uint64), BANDS, ROWS)
        flags = np.zeros(len(part), np.bool_)
        mine, owners = run_of(keys, rows, ascending=False)
        for band, place in by_band(mine):
            flags[owners[place][filters[band].add(mine[place])]] = True


def token_sets(texts: Sequence[str]) -> list[set[str]]:
    """The word 5-grams of the peers."""
    found = []
    for text in texts:
        words = WORD.findall(unicodedata.normalize("NFC", text).lower())
        found.append({" ".join(words[i : i + 5]) for i in range(len(words) - 4)})
    return found


def datasketch_lsh(texts: Sequence[str]) -> None:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, ROWS))
    for number, tokens in enumerate(token_sets(texts)):
        sketched = MinHash(PERMUTATIONS)
        sketched.update_batch([token.encode() for token in tokens])
        index.query(sketched)
        index.insert(str(number), sketched)


def datasketch_bloom(texts: Sequence[str]) -> None:
    from datasketch import MinHash, MinHashLSHBloom

    warnings.filterwarnings("ignore", "Creating LSHBloom index without save directory")
    index = MinHashLSHBloom(num_perm=PERMUTATIONS, params=(BANDS, ROWS), n=len(texts), fp=1e-5)
    for tokens in token_sets(texts):
        sketched = MinHash(PERMUTATIONS)
        sketched.update_batch([token.encode() for token in tokens])
        index.query(sketched)
        index.insert(sketched)


def rensa_matrix(texts: Sequence[str]) -> None:
    from rensa import RMinHash, RMinHashLSH

    matrix = RMinHash.digest_matrix_from_token_sets(token_sets(texts), PERMUTATIONS, 1)
    RMinHashLSH(0.8, PERMUTATIONS, BANDS).query_duplicate_flags_matrix_one_shot(matrix)


def gaoya_index(texts: Sequence[str]) -> None:
    from gaoya.minhash import MinHashStringIndex

    index = MinHashStringIndex(32, 0.8, BANDS, ROWS, None, "word", True, (5, 5))
    for number, text in enumerate(texts):
        index.query(text)
        index.insert_document(number, text)


def seconds(action: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    started = time.process_time()
    action()
    return time.process_time() - started


def ratio(peer: Callable[[Sequence[str]], None], ours: Callable[[pa.Array, pa.Array], None], table: pa.Table) -> float:
    """How many times the documents a second of the peer, in the median of three interleaved pairs."""
    ids, texts = table["id"].combine_chunks(), table["text"].combine_chunks()
    sample = texts.slice(0, SAMPLE).to_pylist()
    found = []
    for _ in range(3):
        theirs = seconds(lambda: peer(sample)) / len(sample)
        mine = seconds(lambda: ours(ids, texts)) / len(texts)
        found.append(theirs / mine)
        print(f"  {peer.__name__}: {1 / theirs:,.0f} documents/s, mnemic {1 / mine:,.0f}", file=sys.stderr)
    return statistics.median(found)


@compiled
def sketch_all(hashes: Any, seed: Any, held: Any, signature: Any) -> None:
    for i in range(len(hashes)):
        sketch(hashes[i], hashes.shape[1], seed, held, signature)


def kernel_rows(texts: pa.Array) -> list[Row]:
    """The tokenizer alone, and the sketch alone."""
    size = int(pc.sum(pc.binary_length(texts)).as_py())
    tokenizer = Shingler()
    read = statistics.median(seconds(lambda: [tokenizer.shingles(part) for part in slices(texts)]) for _ in range(3))
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, (2_000, 640), dtype=np.uint64)
    signature, held = np.empty(PERMUTATIONS, np.uint32), np.empty(PERMUTATIONS, np.uint64)

    def sketched() -> None:
        sketch_all(hashes, np.uint64(1), held, signature)

    sketched()
    rate = hashes.size / statistics.median(seconds(sketched) for _ in range(5)) / 1e6
    rows = [
        Row("tokenise_rate", "tokenise and shingle", size / read / 1e6, "MB/s", 200, 350),
        Row("sketch_rate", "signature kernel, 640 shingles a document", rate, "M/s", 80, 300),
    ]
    try:
        from rensa import RMinHash
    except ImportError:
        return rows
    offsets = np.arange(0, hashes.size + 1, 640, dtype=np.uint64)
    flat = hashes.ravel()
    theirs = statistics.median(
        seconds(lambda: RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, PERMUTATIONS, 1)) for _ in range(5)
    )
    return [*rows, Row("sketch_rate_rensa", "rensa's standard sketch", hashes.size / theirs / 1e6, "M/s", peer="rensa")]


def measure(quick: bool) -> list[Row]:
    table = corpus()
    ids, texts = table["id"].combine_chunks(), table["text"].combine_chunks()
    started = time.process_time()
    verified(ids.slice(0, 300), texts.slice(0, 300))
    bloom_only(ids.slice(0, 300), texts.slice(0, 300))
    print(f"  compilation and first use: {time.process_time() - started:.1f} s of CPU", file=sys.stderr)
    rows = kernel_rows(texts)
    for name, peer, must, goal in (
        ("speed_vs_datasketch", datasketch_lsh, 15, 30),
        ("speed_vs_rensa", rensa_matrix, 4.5, 9),
        ("speed_vs_gaoya", gaoya_index, 3, 6.5),
    ):
        what = "text to verified decision, documents/s"
        rows.append(Row(name, what, ratio(peer, verified, table), "x", must, goal, peer=peer.__name__))
    value = ratio(datasketch_bloom, bloom_only, table)
    what = "text to Bloom flags, documents/s"
    rows.append(Row("bloom_speed_vs_datasketch", what, value, "x", 20, 50, peer="datasketch_bloom"))
    rows += bloom_rows(quick)
    rows.append(increment_row(quick))
    rows.append(memory_row())
    return rows + quality_rows(table, InMemory(ids, texts, Signature()))


if __name__ == "__main__":
    sys.exit(main("deduplicate", __doc__ or "", measure))
