"""Building the index: from committed tokens to committed shards, against bare libdivsufsort over the same bytes.

Both are of one process, in seconds of the processor, so that other work on the machine does not count.
"""

from __future__ import annotations

import time

import numpy as np

from bench.report import Row, paired, peer_library
from bench.suffix.corpus import Corpus
from mnemic.memories.continuations import SuffixMemory
from mnemic.suffixes.stored import index_of
from pipelines.run import Building

PEER = "pydivsufsort"


def building_rows(corpus: Corpus, quick: bool) -> list[Row]:
    divsufsort = peer_library(PEER).divsufsort
    index = index_of(corpus.bank.view)
    texts = [np.ascontiguousarray(shard.tokens.astype(">u2")).view(np.uint8) for shard in index.shards]
    tokens = sum(len(shard.tokens) for shard in index.shards)

    def bare() -> float:
        started = time.process_time()
        for text in texts:
            divsufsort(text)
        return time.process_time() - started

    def ours() -> float:
        with Building(corpus.recipe, engine="inline", device="cpu", anew=["suffixes"]) as building:
            step = next(step for step in building.steps if step.name == "suffixes")
            started = time.process_time()
            building.run(step)
            seconds = time.process_time() - started
            building.release()
        return seconds

    ours()  # compiles
    seconds, _, ratio = paired(ours, bare, 1 if quick else 3)
    memory, snapshot = SuffixMemory(index).nbytes, corpus.bank.dataset("suffixes")
    return [
        Row("suffix_build", f"bare {PEER} over ours, {tokens:,} tokens", ratio, "", 0.7, 0.9, peer=PEER),
        Row("suffix_build_rate", "tokens a second of one core", tokens / seconds, "tokens/s"),
        Row(
            "suffix_bytes",
            "a token, in memory",
            memory / tokens,
            "B",
            8.0,
            6.5,
            higher_is_better=False,
        ),
        Row("suffix_bytes_stored", "a token, in the bank", snapshot.data_bytes / tokens, "B"),
    ]
