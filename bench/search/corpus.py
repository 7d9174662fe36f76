"""A bank of one million events of real vectors and real words for `bench.search`, made once.

The vectors are those of real sentences (`bench.cluster.vectors`), each used about four times (quick: six) with noise of
a third of its length added, and normalised anew: rows made of one sentence have a cosine of about .9. The text of a
turn is the first half of one real sentence and the second half of another, that of an event has four such turns, that
of a session twelve. A document is a session of three events and sixteen turns, the leaves; it belongs to one of a
thousand tenants, and its text is its session's. Queries are real sentences that no row was made of, and their vectors.
Datasets have the schemas of `mnemic.schema`; columns of which a search reads nothing are empty.
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

from bench.cluster.vectors import ENCODER, TRAINED, sentences, vectors
from bench.places import CACHE
from mnemic.dataset import Store
from mnemic.dataset.write import append, append_rows, write_rows
from mnemic.encoder import TextEncoder
from mnemic.ids import hash_parts
from mnemic.schema import DOCUMENTS, TIME, events

FOLDER = CACHE / "search"
FULL, QUICK, TENANTS, QUERIES = 1_000_000, 100_000, 1_000, 1_000
FRAGMENT = 62_500
NOISE = 1 / 3
"""Length of the noise that is added to a unit vector."""

SOURCES = ("wiki", "mail", "chat", "code", "notes")
LEVELS = np.array(["turn"] * 16 + ["event"] * 3 + ["session"])
"""Levels of the rows of a document."""

FIRST, END = np.array([*range(16), 0, 5, 10, 0]), np.array([*range(1, 17), 5, 10, 16, 16])
"""Their ranges of units."""

ORDINALS = np.array([*range(16), *range(3), 0], np.int32)
"""Their numbers within document and level."""

TURNS = np.array([1] * 16 + [4] * 3 + [12])
"""Turns that their texts are made of."""
LONGEST = 60
"""Words of a sentence that are used."""


def corpus(rows: int) -> Path:
    """The folder of a bank of ``rows`` events without any index. Its files are not to be changed.

    Its name holds a hash of the schemas: a bank of other columns is not the one that is measured.
    """
    base = base_vectors(rows)
    schema = events(base.shape[1])
    folder = FOLDER / f"{rows}-{hash_parts(str(schema), str(DOCUMENTS))[:8]}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        store = Store(folder)
        words = Words(sentences().slice(0, len(base)).to_pylist())
        store["events"].create(schema, {"step": "bench"}, {})
        for table in event_tables(rows, base, words):
            append(store["events"], write_rows(store["events"].uri, table, schema), {})
        append_rows(store["documents"], _documents(store), DOCUMENTS, {})
        (folder / "complete").touch()
    return folder


def _documents(store: Store) -> pa.Table:
    """The documents of the sessions among `events`."""
    columns = ["document", "source", "collection", "tenant", "session", "text"]
    sessions = store["events"].require().table(columns, "level = 'session'")
    count, document = len(sessions), sessions["document"]
    nothing = pa.array([""] * count)
    facts = {
        **{name: sessions[name] for name in columns[1:]},
        **{"id": document, "content": document, "locator": document, "item": document, "speaker": nothing},
        **{"time": pa.nulls(count, TIME), "length": pc.cast(pc.utf8_length(sessions["text"]), pa.int64())},
        "turns": pa.nulls(count, DOCUMENTS.field("turns").type),
    }
    return pa.table([facts[name] for name in DOCUMENTS.names], schema=DOCUMENTS)


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
    """Vectors of the real sentences that ``rows`` rows are made of: float32 [sentences, dimension]."""
    return vectors(TRAINED if rows > QUICK else 16_384)[0]


class Words:
    """Real sentences as runs of words."""

    def __init__(self, texts: list[str]) -> None:
        split = [text.split()[:LONGEST] for text in texts]
        self.counts = np.array([len(words) for words in split], np.int64)
        self.starts = np.cumsum(self.counts) - self.counts
        self.flat = pa.array([word for words in split for word in words], pa.string())

    def mixed(
        self, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], turns: npt.NDArray[np.int64]
    ) -> tuple[pa.Array, npt.NDArray[np.int64]]:
        """Texts of ``turns[i]`` turns each, and their words: both [texts].

        A turn is half of a sentence of ``first`` and half of one of ``second``, int64 [turns of all texts].
        """
        heads, tails = (self.counts[first] + 1) // 2, self.counts[second] // 2
        begins = np.stack([self.starts[first], self.starts[second] + self.counts[second] - tails], 1).ravel()
        lengths = np.stack([heads, tails], 1).ravel()
        ends = np.cumsum(lengths)
        indices = np.repeat(begins - (ends - lengths), lengths) + np.arange(ends[-1])
        of_text = np.concatenate([[0], ends[1::2][np.cumsum(turns) - 1]])
        lists = pa.ListArray.from_arrays(of_text.astype(np.int32), self.flat.take(pa.array(indices)))
        return pc.binary_join(lists, " "), np.diff(of_text)


def event_tables(rows: int, base: npt.NDArray[np.float32], words: Words, seed: int = 20261122) -> Iterator[pa.Table]:
    """Rows of `events`, a fragment at a time; the same arguments give the same tables."""
    schema = events(base.shape[1])
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
        lists = pa.array([[]] * count, pa.list_(pa.string()))
        yield pa.table(
            {
                "id": ids,
                "document": [f"{number:032x}" for number in document.tolist()],
                "level": LEVELS[place],
                "leaf": turn,
                "ordinal": ORDINALS[place],
                "first_unit": FIRST[place].astype(np.int32),
                "end_unit": END[place].astype(np.int32),
                "start": FIRST[place] * 100,
                "end": END[place] * 100,
                "cause": pa.array([""] * count),
                **{name: pa.nulls(count, pa.float32()) for name in ("score", "threshold", "surprise")},
                "speakers": lists,
                "turns": lists,
                "representatives": pa.array([[]] * count, pa.list_(pa.int32())),
                "previous": np.where(turn & (place > 0), ids[np.maximum(row - 1, 0)], ""),
                "next": np.where(turn & (place < 15), ids[np.minimum(row + 1, count - 1)], ""),
                "parent": np.where(turn, ids[event], ""),
                "source": np.array(SOURCES)[document % len(SOURCES)],
                "collection": [f"c{number}" for number in (document % 97).tolist()],
                "tenant": [f"tenant-{number:03d}" for number in owners[document].tolist()],
                "session": [f"s{number}" for number in (document // 3).tolist()],
                "start_time": pa.array(time, TIME, mask=timeless),
                "end_time": pa.array(time + 60_000_000, TIME, mask=timeless),
                "words": length.astype(np.int32),
                "text": text,
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(vector.ravel()), base.shape[1]),
            },
            schema=schema,
        )
