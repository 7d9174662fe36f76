"""The graph of documents and the names that they mention, of a release with `edges`, or with `relations`.

Each tenant has its own part. It stands in memory from the first search that follows it on, 24 bytes a pair of document
and name. Names of one document join nothing and are left out, and so are names of more than `MOST_DOCUMENTS`. A
document's own title is a name that it mentions three times more. A relation's ends are names that its document
mentions, and are joined themselves.

A search walks over the documents that it has found, which met its condition, and over no other: so its work does not
grow with the release, and nothing that a condition leaves out says anything. Nor does a name that nearly every document
of its tenant mentions (`mnemic.links.hubs`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mnemic.arrays import Flags, Floats, Integers
from mnemic.dataset import Snapshot
from mnemic.ids import entity_id
from mnemic.links.adjacency import entries_of, first_of_each
from mnemic.links.facts import Facts
from mnemic.links.hops import SOURCES, TARGETS, Link
from mnemic.links.hubs import FEWEST, SHARE
from mnemic.links.names import LONGEST, is_name, without_function_words, words
from mnemic.links.pairs import ENDS, MENTIONED, Pairs, entities_of, mentioned
from mnemic.links.push import push
from mnemic.links.titles import Titles

MOST_EDGES = 20_000_000
"""Rows of `edges` of a release that are held; one with more has no graph."""

MOST_DOCUMENTS = 2_000
"""Documents of a tenant that mention a name which joins them."""

BRIDGED = 20
"""Documents that mention a name by which the best rows lead to others."""

TITLE_MENTIONS = 3
POWER = 4
"""Of the scores at which a walk restarts: the best documents count most."""

LEAST = 0.05
"""Of the best rank: documents at which a walk arrives less are not raised."""

TENANTS = 4
"""Tenants of a search in which the question's names are looked up; a search of more restarts at documents alone."""


@dataclass(frozen=True)
class Graph:
    """Document p of ``titles`` mentions ``entities[first[p] : first[p + 1]]`` with ``weights``.

    Entity k is called ``names[k]`` [m], has the id ``ids[k]`` (bytes, ascending) and is mentioned by the documents
    ``documents[begin[k] : begin[k + 1]]``.
    """

    titles: Titles
    ids: npt.NDArray[np.bytes_]
    names: pa.Array
    first: Integers
    entities: Integers
    weights: Floats
    begin: Integers
    documents: Integers
    pairs: Pairs | None = None
    facts: Facts | None = None

    @classmethod
    def of(cls, edges: Snapshot | None, titles: Titles, relations: Snapshot | None = None) -> Graph:
        table = MENTIONED.empty_table() if edges is None else edges.table(MENTIONED.names)
        return cls.of_rows(table, titles, None if relations is None else relations.table(ENDS))

    @classmethod
    def of_rows(cls, table: pa.Table, titles: Titles, relations: pa.Table | None = None) -> Graph:
        """``table`` has the columns document, name and entity, a row a mention; ``relations`` those of `ENDS`."""
        if relations is not None:
            table = pa.concat_tables([table.select(MENTIONED.names).cast(MENTIONED), mentioned(relations)])
        own: list[int] = np.flatnonzero(titles.own >= 0).tolist()
        called = [" ".join(without_function_words(name.split())) for name in titles.names.numbers]
        title_names = [called[titles.own[place]] for place in own]
        tenants = [titles.tenant_names[titles.tenants[place]] for place in own]
        title_ids = [entity_id(tenant, name) for tenant, name in zip(tenants, title_names, strict=True)]
        coded = table["document"].combine_chunks().dictionary_encode()
        places = titles.places(coded.dictionary.to_pylist())[coded.indices.to_numpy()]
        every = pa.chunked_array([*table["entity"].chunks, pa.array(title_ids, pa.string())]).combine_chunks()
        every_name = pa.chunked_array([*table["name"].chunks, pa.array(title_names, pa.string())]).combine_chunks()
        ids, example, number = np.unique(
            every.to_numpy(zero_copy_only=False).astype("S"), return_index=True, return_inverse=True
        )
        place = np.concatenate([places, np.array(own, np.int64)])
        count = np.concatenate([np.ones(len(places)), np.full(len(own), float(TITLE_MENTIONS))])
        there = place >= 0
        pairs, back = np.unique(place[there] * max(len(ids), 1) + number[there], return_inverse=True)
        counts = np.bincount(back, count[there], len(pairs))
        place, number = np.divmod(pairs, max(len(ids), 1))
        frequency = np.bincount(number, minlength=len(ids))
        owner = np.zeros(len(ids), np.int64)
        owner[number] = titles.tenants[place]
        most = np.maximum(SHARE * np.bincount(titles.tenants, minlength=1)[owner], FEWEST)
        joining = (frequency > 1) & (frequency <= MOST_DOCUMENTS) & (frequency < most)
        joins = joining[number]
        place, number, counts = place[joins], number[joins], counts[joins]
        weights = (1 + np.log(counts)) / np.log(2 + frequency[number])
        by_name = np.lexsort((place, number))
        return cls(
            titles,
            ids,
            every_name.take(pa.array(example)),
            np.searchsorted(place, np.arange(len(titles.ids) + 1)),
            number,
            weights,
            np.searchsorted(number[by_name], np.arange(len(ids) + 1)),
            place[by_name],
            *_related(relations, titles, ids, joining),
        )

    def seeds(self, question: str, places: Integers, sought: Integers) -> Integers:
        """``sought``, and the ends of those relations of the documents ``places`` [n] that are like ``question``."""
        return sought if self.facts is None else np.union1d(sought, self.facts.like(question, places))

    def entities_in(self, question: str, tenants: Collection[int]) -> Integers:
        """The entities of ``tenants`` that the ``question`` names, the longest names first where they overlap."""
        if len(tenants) > TENANTS or not len(self.ids):
            return np.empty(0, np.int64)
        chosen = list[int]()
        written = [word.lower() for word in words(question)][: 4 * LONGEST]
        for tenant in sorted(tenants):
            used = np.zeros(len(written), bool)
            for start, end, entity in self._spans(written, self.titles.tenant_names[tenant]):
                if not used[start:end].any():
                    used[start:end] = True
                    chosen.append(entity)
        return np.unique(np.array(chosen, np.int64))

    def _spans(self, written: Sequence[str], tenant: str) -> Iterator[tuple[int, int, int]]:
        """(first word, word behind the last, entity) of the names in a question, the longest first."""
        spans = [
            (start, start + length)
            for length in range(min(LONGEST, len(written)), 0, -1)
            for start in range(len(written) - length + 1)
        ]
        names = [" ".join(written[start:end]) for start, end in spans]
        ids = np.array([entity_id(tenant, name).encode() if is_name(name) else b"" for name in names], "S")
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1) if len(ids) else np.empty(0, np.int64)
        for (start, end), entity, there in zip(spans, at.tolist(), (self.ids[at] == ids).tolist(), strict=True):
            if there:
                yield start, end, entity

    def walk(self, places: Integers, scores: Floats, sought: Integers) -> dict[int, Link]:
        """Place -> link of documents by a walk over the documents ``places`` [n] and the names that they share.

        It restarts at these by their ``scores`` float64 [n] from 0, and as often at the names ``sought``.
        """
        rows, edges = entries_of(self.first, places)
        shared, local = np.unique(self.entities[edges], return_inverse=True)
        top = float(scores.max(initial=0.0))
        if not len(shared) or top <= 0:
            return {}
        reset = np.zeros(len(places) + len(shared))
        reset[: len(places)] = (np.maximum(scores, 0) / top) ** POWER
        reset /= reset.sum()
        there = np.isin(shared, sought)
        if there.any():
            share = 1.0 / (self.begin[shared[there] + 1] - self.begin[shared[there]])
            reset[len(places) :][there] = share / share.sum()
        begin, end = np.concatenate([rows, len(places) + local]), np.concatenate([len(places) + local, rows])
        weights = np.tile(self.weights[edges], 2)
        if self.pairs is not None:
            one, other, related = self.pairs.among(shared)
            begin, end = np.concatenate([begin, len(places) + one]), np.concatenate([end, len(places) + other])
            weights = np.concatenate([weights, related])
        order = np.argsort(begin, kind="stable")
        first = np.searchsorted(begin[order], np.arange(len(reset) + 1))
        rank = push(first, end[order], weights[order], reset / reset.sum())
        ranks, of_names = rank[: len(places)], rank[len(places) :]
        best = np.lexsort((places, -ranks))[:TARGETS]
        most = float(ranks[best[0]])
        best = best[ranks[best] > LEAST * most]
        bounds = np.searchsorted(rows, np.arange(len(places) + 1))
        owners, mine = entries_of(bounds, best)
        arrived = of_names[local[mine]] * self.weights[edges[mine]]
        at, strongest = first_of_each(owners, arrived)
        shown = self.names.take(pa.array(shared[local[mine[strongest]]])).to_pylist()
        reached = zip(places[best[at]].tolist(), ranks[best[at]].tolist(), shown, strict=True)
        return {place: Link(rank / most, f'shares "{name}" with the best') for place, rank, name in reached}

    def bridge(self, best: Sequence[int], near: Integers, cosines: Floats, sought: Integers) -> dict[int, Link]:
        """Place -> link of the documents that mention a rare name of one of the ``best`` documents, best first.

        A name counts by its rarity, and a document by its cosine to the question: those at the places ``near`` [n],
        ascending, have ``cosines`` float64 [n], the others none.
        """
        sources = np.array(best[:SOURCES], np.int64)
        rank, mentions = entries_of(self.first, sources)
        entities = self.entities[mentions]
        rare = (self.begin[entities + 1] - self.begin[entities] <= BRIDGED) & ~np.isin(entities, sought)
        rank, entities = rank[rare], entities[rare]
        at, others = entries_of(self.begin, entities)
        places, rank, entities = self.documents[others], rank[at], entities[at]
        apart = places != sources[rank]
        places, rank, entities = places[apart], rank[apart], entities[apart]
        rarities = np.log1p(len(self.titles.ids) / np.arange(1, BRIDGED + 1)) / np.log1p(len(self.titles.ids))
        rarity = rarities[self.begin[entities + 1] - self.begin[entities] - 1] / (rank + 1)
        weights = rarity * (0.35 + 0.65 * np.maximum(_values_at(places, near, cosines), 0.0))
        distinct, strongest = first_of_each(places, weights)
        chosen = strongest[np.lexsort((distinct, -weights[strongest]))[:TARGETS]]
        names = self.names.take(pa.array(entities[chosen])).to_pylist()
        most = float(weights[chosen[0]]) if len(chosen) else 1.0
        reached = zip(
            places[chosen].tolist(), weights[chosen].tolist(), names, sources[rank[chosen]].tolist(), strict=True
        )
        return {
            place: Link(weight / most, f'mentions "{name}", as {self.titles.called(source)} does')
            for place, weight, name, source in reached
        }


def _values_at(places: Integers, near: Integers, values: Floats) -> Floats:
    """The ``values`` [n] of ``places`` [m], float64 [m]; those of the last of equal ``near`` [n], 0 for none."""
    if not len(near):
        return np.zeros(len(places))
    at = np.maximum(np.searchsorted(near, places, side="right") - 1, 0)
    return np.where(near[at] == places, values[at], 0.0)


def _related(
    relations: pa.Table | None, titles: Titles, ids: npt.NDArray[np.bytes_], joining: Flags
) -> tuple[Pairs | None, Facts | None]:
    if relations is None:
        return None, None
    ends = entities_of(relations, ids, joining)
    both = ends[(ends >= 0).all(axis=1)]
    return Pairs.of(both[:, 0], both[:, 1], len(ids)), Facts.of(relations, titles, ends)
