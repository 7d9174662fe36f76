"""Erased documents, looked for in every file of a bank: by pieces of their texts, runs of their tokens, and their ids.

Looked for is what the erased documents have alone. A piece that a document which stays has too, such as a licence that
stands in many files, is its own, and no sign of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Flags
from mnemic.dataset import Snapshot, Store
from mnemic.dataset.decoded import decoded, is_message, is_table, message
from mnemic.dataset.files import files_of
from mnemic.release import releases
from mnemic.removals import NAME
from mnemic.text_pieces import CHARACTERS, ID, TOKENS, TextPieces, characters, numbers
from mnemic.verify import datasets_of
from pipelines.keyset import KeySet

_BATCH = 1024


@dataclass(frozen=True)
class Traces:
    """What of the erased documents stands in a file: which pieces of text, runs of tokens, and ids."""

    texts: Flags
    tokens: Flags
    ids: Flags

    @property
    def any(self) -> bool:
        return bool(self.texts.any() or self.tokens.any() or self.ids.any())

    def add(self, other: Traces) -> None:
        """Enter what ``other`` has too."""
        np.logical_or(self.texts, other.texts, out=self.texts)
        np.logical_or(self.tokens, other.tokens, out=self.tokens)
        np.logical_or(self.ids, other.ids, out=self.ids)


@dataclass(frozen=True)
class Search:
    """The traces in all files of a bank, and the ``places`` (dataset/file) that have some; of ``files`` read."""

    traces: Traces
    places: tuple[str, ...]
    files: int

    @property
    def pieces(self) -> int:
        """Pieces of text and runs of tokens that stand somewhere."""
        return int(self.traces.texts.sum() + self.traces.tokens.sum())

    def of(self, dataset: str) -> list[str]:
        """The files of a dataset that have traces, by their paths in it."""
        folder = f"{dataset}.lance/"
        return [place.removeprefix(folder) for place in self.places if place.startswith(folder)]


@dataclass(frozen=True)
class Sought:
    """What is looked for. ``shared`` are pieces of the erased texts that other documents have too."""

    texts: TextPieces
    tokens: TextPieces
    ids: TextPieces
    shared: int = 0

    @classmethod
    def of(cls, store: Store, documents: Sequence[str]) -> Sought:
        """The pieces of the documents with these ids, as far as any release still has them."""
        ids = pa.array(sorted(documents), pa.string())
        erased = KeySet([pa.RecordBatch.from_arrays([ids], names=["id"])])
        texts = TextPieces.of(CHARACTERS, (characters(batch["text"]) for batch in _texts(store, erased, True)))
        tokens = TextPieces.of(TOKENS, _tokens(store, erased, True))
        shared, runs = texts.unseen, tokens.unseen
        for batch in _texts(store, erased, False) if len(texts) else ():
            texts.mark(characters(batch["text"]), shared)
        for part in _tokens(store, erased, False) if len(tokens) else ():
            tokens.mark(part, runs)
        named = TextPieces.of(ID, [characters(ids)])
        return cls(texts.without(shared), tokens.without(runs), named, int(shared.sum()))

    @property
    def nothing(self) -> Traces:
        return Traces(self.texts.unseen, self.tokens.unseen, self.ids.unseen)

    def search(self, store: Store, datasets: Iterable[str] | None = None) -> Search:
        """Decode every file of the bank: of every version, and those that no version names."""
        whole, places, files = self.nothing, list[str](), 0
        for name in datasets_of(store) if datasets is None else datasets:
            dataset = store[name]
            for path in files_of(dataset.uri, dataset.storage_options):
                if not (is_table(path) or is_message(path)):
                    continue
                files += 1
                traces = self._of_file(dataset.uri, path, dataset.storage_options, name != NAME)
                if traces.any:
                    places.append(f"{name}.lance/{path}")
                    whole.add(traces)
        return Search(whole, tuple(places), files)

    def _of_file(self, uri: str, path: str, options: Mapping[str, str] | None, by_id: bool) -> Traces:
        traces = self.nothing
        if is_message(path):
            self._mark_text(message(uri, path, options), traces)
            return traces
        flat: dict[str, list[pa.Array]] = {}
        for batch in decoded(uri, path, options):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                self._mark_column(column, by_id, traces)
                if pa.types.is_unsigned_integer(column.type):
                    flat.setdefault(name, []).append(column)
        for columns in flat.values():  # a token a row: runs go on from batch to batch
            self.tokens.mark(pa.concat_arrays(columns).drop_null().to_numpy().astype(np.uint64), traces.tokens)
        return traces

    def _mark_column(self, column: pa.Array, by_id: bool, traces: Traces) -> None:
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            symbols = characters(column)
            self.texts.mark(symbols, traces.texts)
            if by_id:
                self.ids.mark(symbols, traces.ids)
        elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            for value in column.to_pylist():
                self._mark_bytes(value or b"", traces)
        elif pa.types.is_struct(kind):
            for part in column.flatten():
                self._mark_column(part, by_id, traces)
        elif _is_list(kind):
            if pa.types.is_unsigned_integer(kind.value_type) and not pa.types.is_fixed_size_list(kind):
                self.tokens.mark(numbers(column), traces.tokens)
            else:
                self._mark_column(pc.list_flatten(column), by_id, traces)

    def _mark_bytes(self, value: bytes, traces: Traces) -> None:
        """Bytes are looked at as text, and as tokens of two and of four bytes."""
        for width in (2, 4):
            whole = value[: len(value) // width * width]
            self.tokens.mark(np.frombuffer(whole, f"<u{width}").astype(np.uint64), traces.tokens)
        self._mark_text(value, traces)

    def _mark_text(self, value: bytes, traces: Traces) -> None:
        self.texts.mark(characters(pa.array([value.decode("utf-8", "replace")])), traces.texts)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _versions(store: Store, name: str) -> Iterator[Snapshot]:
    """The versions of a dataset that releases pin, each once, the newest first."""
    numbers_of = {release.versions[name] for release in releases(store) if name in release.versions}
    for number in sorted(numbers_of, reverse=True):
        yield store[name].require(number)


def _texts(store: Store, erased: KeySet, mine: bool) -> Iterator[pa.RecordBatch]:
    """The texts of the ``erased`` documents, or of all others, of all releases; each document once."""
    met = KeySet()
    for snapshot in _versions(store, "documents"):
        for batch in snapshot.scan(["id", "text"], batch_size=_BATCH):
            ids = batch.select(["id"])
            rows = batch.filter(pa.array((erased.has(ids) == mine) & ~met.has(ids)))
            if rows.num_rows:
                yield rows
        met |= KeySet(snapshot.scan(["id"], batch_size=65536))


def _tokens(store: Store, erased: KeySet, mine: bool) -> Iterator[np.ndarray[tuple[int], np.dtype[np.uint64]]]:
    """The tokens of the ``erased`` documents, or of all others, in their order, those of a fragment at a time.

    All rows of a document stand in one fragment of the datastore.
    """
    for snapshot in _versions(store, "tokens"):
        for batch in snapshot.scan(["document", "tokens"], batch_size=_BATCH):
            rows = batch.filter(pa.array(erased.has(batch.select(["document"])) == mine))
            if rows.num_rows:
                yield numbers(rows["tokens"])
    for snapshot in _versions(store, "datastore"):
        for fragment in snapshot.fragments:
            batches = list(snapshot.scan(["document", "position", "token"], fragments=[fragment.id]))
            chosen = [batch.filter(pa.array(erased.has(batch.select(["document"])) == mine)) for batch in batches]
            yield from _runs(pa.Table.from_batches(chosen)) if chosen else ()


def _runs(rows: pa.Table) -> Iterator[np.ndarray[tuple[int], np.dtype[np.uint64]]]:
    """The tokens of each document of ``rows`` of the datastore, in their order, where they are enough for a run."""
    rows = rows.sort_by([("document", "ascending"), ("position", "ascending")]).combine_chunks()
    owners = pc.dictionary_encode(rows["document"].combine_chunks()).indices.to_numpy()
    values = rows["token"].to_numpy().astype(np.uint64)
    ends = np.flatnonzero(np.diff(owners)) + 1
    parts = np.split(values, ends) if len(values) else []
    yield from (part for part in parts if len(part) >= TOKENS)
