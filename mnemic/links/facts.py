"""Relations of the documents that a search has found, by the words that they share with the question.

The ends of the best ones are names at which a walk restarts: a question tells what is asked of a name ("who directed"),
and a relation that says so has the next name at its other end. A word counts by its rarity among all relations of the
release, and a relation by the rarity of the words that it shares, over the root of that of all its words.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mnemic.arrays import Integers
from mnemic.links.adjacency import entries_of
from mnemic.links.names import is_name, words
from mnemic.links.titles import Titles

BEST = 3
"""Relations whose ends a walk restarts at. On the even questions of MuSiQue-100, with recorded triples, 2, 3 and 5 were
alike (74.3 % at 5; without them 71.7)."""

_NOT_LETTERS = r"[^\p{L}\p{N}]+"
_PARTS = ("subject", "label", "object")


@dataclass(frozen=True)
class Facts:
    """The relations of the document at place p are those from ``first[p]`` to ``first[p + 1]``.

    Relation i has the words ``codes[begin[i] : begin[i + 1]]``, numbers in ``vocabulary`` [v], which is ascending;
    ``rarity`` float64 [v]. ``ends`` int64 [n, 2] are its entities, -1 for one that joins no documents.
    """

    first: Integers
    begin: Integers
    codes: npt.NDArray[np.int32]
    vocabulary: pa.Array
    rarity: npt.NDArray[np.float64]
    ends: Integers

    @classmethod
    def of(cls, relations: pa.Table, titles: Titles, ends: Integers) -> Facts:
        """``relations`` have the columns document, subject, label and object, and ``ends`` [n, 2]."""
        coded = relations["document"].combine_chunks().dictionary_encode()
        places = titles.places(coded.dictionary.to_pylist())[coded.indices.to_numpy()]
        parts = [pc.utf8_lower(relations[name].combine_chunks()) for name in _PARTS]
        texts = pc.binary_join_element_wise(*parts, " ")
        ordered = pa.table({"place": places, "text": texts, "row": np.arange(len(places))})
        ordered = ordered.filter(pc.greater_equal(ordered["place"], 0))
        ordered = ordered.sort_by([("place", "ascending"), ("text", "ascending")])
        split = pc.split_pattern_regex(ordered["text"].combine_chunks(), _NOT_LETTERS)
        flat = pc.list_flatten(split)
        owner = pc.list_parent_indices(split).to_numpy().astype(np.int64)
        there = pc.not_equal(flat, "").to_numpy(zero_copy_only=False)
        flat, owner = flat.filter(pa.array(there)), owner[there]
        vocabulary = pc.unique(flat).sort()
        codes = pc.index_in(flat, value_set=vocabulary).to_numpy().astype(np.int32)
        counts = np.bincount(codes, minlength=len(vocabulary))
        return cls(
            np.searchsorted(ordered["place"].to_numpy(), np.arange(len(titles.ids) + 1)),
            np.searchsorted(owner, np.arange(len(ordered) + 1)),
            codes,
            vocabulary,
            np.log1p(len(ordered) / np.maximum(counts, 1)),
            ends[ordered["row"].to_numpy()],
        )

    def like(self, question: str, places: Integers) -> Integers:
        """The entities at the ends of the `BEST` relations of the documents ``places`` [n], ascending, each once."""
        _, rows = entries_of(self.first, places)
        sought = self._codes([word.lower() for word in words(question)])
        if not len(rows) or not len(sought):
            return np.empty(0, np.int64)
        at, entries = entries_of(self.begin, rows)
        codes = self.codes[entries]
        rarity = self.rarity[codes]
        shared = np.bincount(at, np.where(np.isin(codes, sought), rarity, 0.0), len(rows))
        scores = shared / np.sqrt(np.maximum(np.bincount(at, rarity, len(rows)), 1e-9))
        best = np.argsort(-scores, kind="stable")[:BEST]
        ends = self.ends[rows[best[scores[best] > 0]]].ravel()
        return np.unique(ends[ends >= 0])

    def _codes(self, asked_words: Sequence[str]) -> Integers:
        """Numbers of the words that say something and that a relation has."""
        codes = []
        for word in {*asked_words}:
            at = bisect.bisect_left(self.vocabulary, word, key=lambda one: one.as_py())
            if is_name(word) and at < len(self.vocabulary) and self.vocabulary[at].as_py() == word:
                codes.append(at)
        return np.array(sorted(codes), np.int64)
