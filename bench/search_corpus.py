"""A bank of one million events of real vectors and real words for `bench.search`, made once.

The vectors are those of real sentences (`bench.cluster_vectors`), each used about four times (quick: six) with noise of
a third of its length added, and normalised anew: rows made of one sentence have a cosine of about .9. The text of a
turn is the first half of one real sentence and the second half of another, that of an event has four such turns, that
of a session twelve. A document is a session of three events and sixteen turns, the leaves; it belongs to one of a
thousand tenants, and its text is its session's. Queries are real sentences that no row was made of, and their vectors.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bench.cluster_vectors import ENCODER, TRAINED, sentences, vectors
from mnemic.dataset import Store
from mnemic.dataset.write import append, append_rows, write_rows
from mnemic.encoder import TextEncoder

CACHE = Path(os.environ.get("MNEMIC_BENCH_CACHE", Path.home() / ".cache" / "mnemic" / "bench")) / "search"
FULL, QUICK, TENANTS, QUERIES = 1_000_000, 100_000, 1_000, 1_000
FRAGMENT = 62_500
OF_DOCUMENT = ["source", "collection", "tenant", "session"]
NOISE = 1 / 3
"""Length of the noise that is added to a unit vector."""

SOURCES = ("wiki", "mail", "chat", "code", "notes")
LEVELS = np.array(["turn"] * 16 + ["event"] * 3 + ["session"])
"""Levels of the rows of a document."""

FIRST, END = np.array([*range(16), 0, 5, 10, 0]), np.array([*range(1, 17), 5, 10, 16, 16])
"""Their ranges of units."""

TURNS = np.array([1] * 16 + [4] * 3 + [12])
"""Turns that their texts are made of."""
LONGEST = 60
"""Words of a sentence that are used."""


def event_schema(dimension: int) -> pa.Schema:
    time = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("document", pa.string(), nullable=False),
            pa.field("level", pa.string(), nullable=False),
            pa.field("leaf", pa.bool_(), nullable=False),
            pa.field("first_unit", pa.int32(), nullable=False),
            pa.field("end_unit", pa.int32(), nullable=False),
            pa.field("start", pa.int64(), nullable=False),
            pa.field("end", pa.int64(), nullable=False),
            pa.field("speakers", pa.list_(pa.string()), nullable=False),
            pa.field("previous", pa.string(), nullable=False),
            pa.field("next", pa.string(), nullable=False),
            pa.field("parent", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("collection", pa.string(), nullable=False),
            pa.field("tenant", pa.string(), nullable=False),
            pa.field("session", pa.string(), nullable=False),
            pa.field("start_time", time),
            pa.field("end_time", time),
            pa.field("words", pa.int32(), nullable=False),
            pa.field("text", pa.large_string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dimension), nullable=False),
        ]
    )


def made(rows: int) -> Path:
    """The folder of a bank of ``rows`` events without any index. Its files are not to be changed."""
    folder = CACHE / f"{rows}"
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        store = Store(folder)
        base = base_vectors(rows)
        words = Words(sentences().slice(0, len(base)).to_pylist())
        schema = event_schema(base.shape[1])
        store["events"].create(schema, {"step": "bench"}, {})
        for table in event_tables(rows, base, words):
            append(store["events"], write_rows(store["events"].uri, table, schema), {})
        documents = store["events"].require().table(["document", *OF_DOCUMENT, "text"], "level = 'session'")
        documents = documents.rename_columns(["id", *OF_DOCUMENT, "text"]).append_column(
            "locator", documents["document"]
        )
        append_rows(store["documents"], documents, documents.schema, {})
        (folder / "made").touch()
    return folder


def released(source: Path, folder: Path) -> Store:
    """A copy of a bank in ``folder``, its files linked."""
    for name in ("events", "documents"):
        shutil.copytree(source / f"{name}.lance", folder / f"{name}.lance", copy_function=os.link)
    return Store(folder)


def queries(count: int = QUERIES) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Sentences that no row is made of, and their vectors: float32 [count, dimension]."""
    texts = [" ".join(text.split()[:LONGEST]) for text in sentences()[TRAINED : TRAINED + count].to_pylist()]
    return texts, TextEncoder.load(ENCODER).encode(texts)


def base_vectors(rows: int) -> npt.NDArray[np.float32]:
    """Vectors of the real sentences that ``rows`` rows are made of."""
    return vectors(TRAINED if rows > QUICK else 16_384)[0]


class Words:
    """Real sentences as runs of words."""

    def __init__(self, texts: list[str]) -> None:
        split = [text.split()[:LONGEST] for text in texts]
        self.counts = np.array([len(words) for words in split], np.int64)
        self.starts = np.cumsum(self.counts) - self.counts
        self.flat = pa.array([word for words in split for word in words], pa.string())

    def mixed(self, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], turns: npt.NDArray[np.int64]):
        """Texts of ``turns[i]`` turns each; a turn is half of a sentence of ``first`` and half of one of ``second``."""
        heads, tails = (self.counts[first] + 1) // 2, self.counts[second] // 2
        begins = np.stack([self.starts[first], self.starts[second] + self.counts[second] - tails], 1).ravel()
        lengths = np.stack([heads, tails], 1).ravel()
        ends = np.cumsum(lengths)
        indices = np.repeat(begins - (ends - lengths), lengths) + np.arange(ends[-1])
        of_text = np.concatenate([[0], ends[1::2][np.cumsum(turns) - 1]])
        lists = pa.ListArray.from_arrays(of_text.astype(np.int32), self.flat.take(pa.array(indices)))
        return pc.binary_join(lists, " "), np.diff(of_text)


def event_tables(rows: int, base: npt.NDArray[np.float32], words: Words, seed: int = 20261122) -> Iterator[pa.Table]:
    """The rows, a fragment at a time; the same arguments give the same tables."""
    schema = event_schema(base.shape[1])
    places = len(LEVELS)
    owners = np.random.default_rng(7).integers(0, TENANTS, rows // places + 1)
    for part, start in enumerate(range(0, rows, FRAGMENT)):
        count = min(FRAGMENT, rows - start)
        random = np.random.default_rng([seed, part])
        place, document = (start + np.arange(count)) % places, (start + np.arange(count)) // places
        turns = TURNS[place]
        pairs = random.integers(0, len(base), (2, turns.sum()))
        text, length = words.mixed(pairs[0], pairs[1], turns)
        of_row = pairs[0][np.cumsum(turns) - turns]  # a row's vector is that of its first sentence, with noise
        noise = random.standard_normal((count, base.shape[1]), np.float32) * (NOISE / base.shape[1] ** 0.5)
        vector = base[of_row] + noise
        vector /= np.linalg.norm(vector, axis=1, keepdims=True)
        time = random.integers(1_640_000_000, 1_760_000_000, count) * 1_000_000
        timeless = random.random(count) < 0.1
        ids = np.array([f"{high:016x}{low:016x}" for high, low in random.integers(0, 2**63, (count, 2)).tolist()])
        turn, row = place < 16, np.arange(count)
        event = np.minimum(row - place + 16 + np.minimum(FIRST[place] // 5, 2), count - 1)
        yield pa.table(
            {
                "id": ids,
                "document": [f"{number:032x}" for number in document.tolist()],
                "level": LEVELS[place],
                "leaf": turn,
                "first_unit": FIRST[place].astype(np.int32),
                "end_unit": END[place].astype(np.int32),
                "start": FIRST[place] * 100,
                "end": END[place] * 100,
                "speakers": pa.array([[]] * count, pa.list_(pa.string())),
                "previous": np.where(turn & (place > 0), ids[np.maximum(row - 1, 0)], ""),
                "next": np.where(turn & (place < 15), ids[np.minimum(row + 1, count - 1)], ""),
                "parent": np.where(turn, ids[event], ""),
                "source": np.array(SOURCES)[document % len(SOURCES)],
                "collection": [f"c{number}" for number in (document % 97).tolist()],
                "tenant": [f"tenant-{number:03d}" for number in owners[document].tolist()],
                "session": [f"s{number}" for number in (document // 3).tolist()],
                "start_time": pa.array(time, pa.timestamp("us", tz="UTC"), mask=timeless),
                "end_time": pa.array(time + 60_000_000, pa.timestamp("us", tz="UTC"), mask=timeless),
                "words": length.astype(np.int32),
                "text": text,
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(vector.ravel()), base.shape[1]),
            },
            schema=schema,
        )
