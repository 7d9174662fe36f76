"""Tracing and exact search in one release of a bank, with the documents that have what was looked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mnemic import languagemodel
from mnemic.conditions import Conditions, Where, all_of
from mnemic.dataset.index import read_rows, rows_of_ids
from mnemic.errors import BankError, ModelError, QueryError
from mnemic.facts import ADVICE
from mnemic.kept import KEPT
from mnemic.quoting import one_of
from mnemic.suffixes.index import SuffixIndex
from mnemic.suffixes.stored import index_of
from mnemic.trace import spans
from mnemic.trace.pieces import Pieces
from mnemic.trace.places import DocumentPlaces, FirstPlaces, documents_of
from mnemic.trace.results import Occurrence, Occurrences, Trace, TracedDocument, TracedSpan
from mnemic.trace.substring import places_of
from mnemic.view import View, fitting

LONGEST = 1 << 20
"""Characters of a text that is traced, or looked for."""

AROUND = 200
"""Characters before and after a place."""

_FACTS = ("source", "locator", "collection", "tenant")

_SCANNED = 256
"""Documents that are read at once where their texts are looked through."""


@dataclass(frozen=True)
class _Hits:
    """Places of a string: how many, in how many documents, and the first of them by (document, character)."""

    count: int
    documents: int
    first: list[tuple[str, int]]

    def beside(self, other: _Hits, limit: int) -> _Hits:
        """With those in ``other`` documents."""
        first = sorted([*self.first, *other.first])[:limit]
        return _Hits(self.count + other.count, self.documents + other.documents, first)


class Tracer:
    """``view`` is the release. Its index and the tokenizer are loaded when they are first needed."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._other: tuple[Any, Pieces | None] | None = None
        self._others: list[str] | None = None
        self._narrowed: WeakKeyDictionary[SuffixIndex, SuffixIndex] = WeakKeyDictionary()
        self._surprises: WeakKeyDictionary[SuffixIndex, NDArray[np.float64]] = WeakKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        return {"view": self.view}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["view"])  # type: ignore[misc]

    # -- tracing -----------------------------------------------------------------------------------------------------

    def trace(self, text: str, where: Where, least: int, rare: float, limit: int, tokenizer: Any) -> Trace:
        """As `Bank.trace` says it."""
        _refuse(text, ("least", least, 1), ("limit", limit, 0))
        index = index_of(self.view, where)
        reader, _ = self._tokenizer(tokenizer)
        readings = [_reading(reader, text, 0)]
        if text[:1].strip():  # in a corpus most words have a space before them
            readings.append(_reading(reader, " " + text, 1))
        if index not in self._surprises:
            self._surprises[index] = spans.surprise(index)
        candidates = spans.candidates(index, text, readings, self._surprises[index], least, rare)
        candidates.sort(key=lambda one: (one.count, -one.surprise, one.start))
        with fitting(self.view, "The suffix index and the documents"):
            standing = [documents_of(index, one, limit) for one in candidates]
            sources = self._sources([documents for _, documents in standing])
        traced = [
            TracedSpan(
                one.start,
                one.end,
                text[one.start : one.end],
                one.tokens,
                one.surprise,
                one.count,
                total,
                tuple(replace(source, end=source.start + one.end - one.start) for source in of_span),
            )
            for one, (total, _), of_span in zip(candidates, standing, sources, strict=True)
        ]
        return Trace(text, traced, self.view.release.name)

    def _sources(self, spans_of: Sequence[Sequence[DocumentPlaces]]) -> list[list[TracedDocument]]:
        """The documents of spans, with their facts, and the character at which the first place of each begins."""
        ids = sorted({place.document for places in spans_of for place in places})
        if not ids:
            return [[] for _ in spans_of]
        facts = self._facts(ids)
        tokens = self.view.dataset("tokens")
        numbers, there = rows_of_ids(tokens, "document", ids)
        if not there.all():
            raise ValueError("a document of the index has no tokens")
        order = np.argsort(numbers)
        starts = tokens.take_rows(numbers[order], ["starts"])["starts"].combine_chunks()
        offsets, values = starts.offsets.to_numpy(), starts.values.to_numpy()
        begin = dict(zip((ids[place] for place in order), offsets[:-1].tolist(), strict=True))
        end = dict(zip((ids[place] for place in order), offsets[1:].tolist(), strict=True))
        sources = []
        for places in spans_of:
            documents = []
            for place in places:
                number = begin[place.document] + place.token
                if number >= end[place.document]:
                    raise IndexError("a place of the index lies behind its document")
                start = int(values[number]) + place.lead
                documents.append(
                    TracedDocument(place.document, **facts[place.document], start=start, end=start, count=place.count)
                )
            sources.append(documents)
        return sources

    # -- exact search ------------------------------------------------------------------------------------------------

    def count(self, text: str, where: Where, tokenizer: Any) -> int:
        """As `Bank.count` says it."""
        return self._places(text, where, tokenizer, 0).count

    def find_text(self, text: str, where: Where, limit: int, around: int, tokenizer: Any) -> Occurrences:
        """As `Bank.find_text` says it."""
        _refuse(text, ("limit", limit, 0), ("around", around, 0))
        places = self._places(text, where, tokenizer, limit)
        with fitting(self.view, "The suffix index and the documents"):
            ids = sorted({document for document, _ in places.first})
            facts = self._facts(ids)
            texts = self._texts(ids)
            occurrences = [
                Occurrence(
                    document,
                    **facts[document],
                    start=start,
                    end=start + len(text),
                    before=texts[document][max(start - around, 0) : start],
                    text=text,
                    after=texts[document][start + len(text) : start + len(text) + around],
                )
                for document, start in places.first
            ]
        return Occurrences(text, occurrences, places.count, places.documents, self.view.release.name)

    def _places(self, text: str, where: Where, tokenizer: Any, limit: int) -> _Hits:
        _refuse(text)
        if not text:
            raise QueryError("An empty string stands everywhere; give one character at least.")
        index = index_of(self.view, where)
        _, pieces = self._tokenizer(tokenizer)
        try:
            encoded = text.encode()
        except UnicodeEncodeError:
            return _Hits(0, 0, [])  # half a letter, which no text of a bank has
        with fitting(self.view, "The suffix index and the documents"):
            if pieces is None:
                return self._scanned(text, where, limit)
            whole, others = self._whole(index, pieces)
            hits = self._indexed(whole, pieces, encoded, limit)
            return hits.beside(self._scanned(text, where, limit, others), limit) if others else hits

    def _whole(self, index: SuffixIndex, pieces: Pieces) -> tuple[SuffixIndex, list[str]]:
        """``index`` of the documents whose letters all have tokens, and the ids of the others, of the whole release."""
        others = self._incomplete(pieces)
        if others and index not in self._narrowed:
            ids = pa.array(others, pa.string())
            self._narrowed[index] = index.of_documents(
                lambda shard: ~pc.is_in(shard.documents, value_set=ids).to_numpy(zero_copy_only=False)
            )
        return (self._narrowed[index] if others else index), others

    def _incomplete(self, pieces: Pieces) -> list[str]:
        """Ids of the documents that have more letters than their tokens, or fewer."""
        if self._others is None:
            rows = self.view.table("documents", ["id", "length"])
            ids, lengths = rows["id"].combine_chunks(), rows["length"].to_numpy()
            self._others = []
            for shard in index_of(self.view).shards:
                letters = np.append(pieces.letters, 0)
                counts = np.add.reduceat(letters[np.minimum(shard.tokens, len(letters) - 1)], shard.offsets)
                row = pc.index_in(shard.documents, value_set=ids).to_numpy(zero_copy_only=False)
                self._others += shard.documents.filter(pa.array(lengths[row] != counts)).to_pylist()
        return self._others

    def _indexed(self, index: SuffixIndex, pieces: Pieces, text: bytes, limit: int) -> _Hits:
        """By the index: the bytes of a document are those of its tokens."""
        firsts = [FirstPlaces(limit, len(shard.documents)) for shard in index.shards]
        stride = pieces.longest + 1
        for positions in places_of(index, pieces, text):
            shard = index.shards[positions.shard]
            owner = shard.document_of(positions.firsts + 1)
            firsts[positions.shard].add(owner, positions.firsts * stride + positions.skips)
        places = []
        for shard, first in zip(index.shards, firsts, strict=True):
            for key in first.keys.tolist():
                token, skip = divmod(key, stride)
                number = int(shard.document_of(np.array([token + 1]))[0])
                before = pieces.sizes[shard.tokens[shard.offsets[number] : token]]
                places.append((shard.documents[number].as_py(), int(before.sum()) + skip))
        places = sorted(places)[:limit]
        texts = self._texts(sorted({document for document, _ in places}))
        encoded = {document: value.encode() for document, value in texts.items()}
        for document, byte in places:
            if not encoded[document].startswith(text, byte):
                raise ValueError("the tokens of a document are not those of its text")
        characters = [(document, len(encoded[document][:byte].decode())) for document, byte in places]
        total = sum(first.count for first in firsts)
        return _Hits(total, sum(int(first.documents.sum()) for first in firsts), characters)

    def _scanned(self, text: str, where: Where, limit: int, ids: Sequence[str] | None = None) -> _Hits:
        """By reading texts, all or those of ``ids``: tokens that are less than a text do not tell what it was."""
        conditions, snapshot = Conditions.of(where), self.view.dataset("documents")
        more = replace(conditions, named=()).sql(snapshot.schema, "documents")
        count, documents, first = 0, 0, list[tuple[str, int]]()
        condition = all_of(conditions.of_documents(), more, KEPT, None if ids is None else one_of("id", ids))
        for batch in snapshot.scan(["id", "text"], condition, batch_size=_SCANNED):
            some = batch.filter(pc.match_substring(batch["text"], text))
            for document, value in zip(some["id"].to_pylist(), some["text"].to_pylist(), strict=True):
                places = list(_occurrences(value, text))
                count, documents = count + len(places), documents + 1
                first = sorted([*first, *((document, place) for place in places[:limit])])[:limit]
        return _Hits(count, documents, first)

    # -- what both read ----------------------------------------------------------------------------------------------

    def _facts(self, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        documents = self.view.dataset("documents")
        numbers, there = rows_of_ids(documents, "id", list(ids))
        if not there.all():
            raise ValueError("a document of the index is not in the bank")
        rows = read_rows(documents, numbers, list(_FACTS)).to_pylist() if len(ids) else []
        return dict(zip(ids, rows, strict=True))

    def _texts(self, ids: Sequence[str]) -> dict[str, str]:
        if not ids:
            return {}
        documents = self.view.dataset("documents")
        rows = documents.take_rows(rows_of_ids(documents, "id", list(ids))[0], ["id", "text"])
        return dict(zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True))

    def _tokenizer(self, tokenizer: Any) -> tuple[Any, Pieces | None]:
        """``tokenizer``, or that of the recipe, once it is that of the index; and its pieces."""
        if tokenizer is None:
            return self._own
        if self._other is None or self._other[0] is not tokenizer:
            self._other = self._checked(tokenizer)
        return self._other

    @cached_property
    def _own(self) -> tuple[Any, Pieces | None]:
        return self._checked(languagemodel.tokenizer(self._address))

    def _checked(self, tokenizer: Any) -> tuple[Any, Pieces | None]:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError("The tokenizer gives no character offsets; give a fast one of transformers.")
        if languagemodel.tokenizer_hash(tokenizer) != self._hash:
            raise ModelError(
                f"The tokenizer is not the one that the suffix index of {self.view.path} was made with; give that "
                "of the recipe's language model, or build the bank again."
            )
        return tokenizer, Pieces.of(tokenizer)

    @cached_property
    def _hash(self) -> str:
        hashes = set(self.view.table("suffixes", ["tokenizer"], "part = 0")["tokenizer"].to_pylist())
        if len(hashes) != 1:
            raise BankError(f"The suffix index of {self.view.path} is of {len(hashes)} tokenizers. {ADVICE}")
        return str(hashes.pop())

    @property
    def _address(self) -> str:
        recipe = self.view.release.recipe
        section = recipe.get("tokens")
        address = (section.get("model") if isinstance(section, dict) else None) or recipe.get("language_model")
        if not isinstance(address, str):
            raise BankError(
                f"Release {self.view.release.name} of {self.view.path} does not say which model's tokens it has; give "
                "`tokenizer=`, or build it again."
            )
        return address


def _reading(tokenizer: Any, text: str, shift: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The tokens of ``text``, and where each starts and ends, ``shift`` characters further left."""
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False)
    offsets = np.array(read["offset_mapping"], np.int64).reshape(-1, 2) - shift
    return np.array(read["input_ids"], np.int64), offsets[:, 0], offsets[:, 1]


def _occurrences(text: str, part: str) -> Iterator[int]:
    """Where ``part`` begins in ``text``, also where it overlaps with itself."""
    place = text.find(part)
    while place >= 0:
        yield place
        place = text.find(part, place + 1)


def _refuse(text: str, *numbers: tuple[str, int, int]) -> None:
    """Raise `QueryError` for what is no text, a text too long, and numbers below their least."""
    if not isinstance(text, str):
        raise QueryError(f"A {type(text).__name__} is no text; give a string.")
    if len(text) > LONGEST:
        raise QueryError(f"The text has {len(text):,} characters and at most {LONGEST:,} are read; give it in parts.")
    for name, value, least in numbers:
        if not isinstance(value, int) or value < least:
            raise QueryError(f"{name}={value!r} is no number from {least} on; give one.")
