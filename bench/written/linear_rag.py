"""LinearRAG's rule (Zhuang et al., arXiv 2510.10114) as its code runs it, with our encoder and our names by rules.

A graph of passages and names: a name is joined to a passage by its share of all names there, a passage to the next one
by 1. The name nearest to each name of a question is active with its cosine; its best sentences make the names in them
active with their product, round by round, as long as that is not below a threshold. A walk restarts there, and at the
passages with a weight of 0.05 (ratio x cosine, scaled from 0 to 1, + log(1 + what active names they hold)).

The paper's names come of a transformer for entities and its vectors of all-mpnet-base-v2; names are those of
`mnemic.links.mentions` here, as a recipe with `names` has them. So this tells what the rule does with equal means.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.written.passages import Passages, Scores
from mnemic.encoder import TextEncoder
from mnemic.links.mentions import mentions
from mnemic.links.names import words

NODE, DAMPING = 0.05, 0.5
_STEPS = 40
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")


@dataclass(frozen=True)
class Activation:
    """How far names make others active: ``rounds``, ``sentences`` a name, products of at least ``threshold``.

    ``ratio`` is the weight of a passage's cosine against that of its names.
    """

    rounds: int
    sentences: int
    threshold: float
    ratio: float


DEFAULT = Activation(rounds=2, sentences=3, threshold=0.4, ratio=2.0)
"""Of its command."""

SCRIPTED = {
    "hotpotqa": Activation(rounds=2, sentences=1, threshold=0.4, ratio=0.05),
    "musique": Activation(rounds=4, sentences=4, threshold=0.1, ratio=2.0),
}
"""Of the script that ran its experiments, for each set of questions."""


def names(text: str) -> list[str]:
    return [mention.name for mention in mentions(text)]


class LinearRag:
    """``vocabulary`` are all names; node k of the graph is name k, and behind the names are the passages."""

    def __init__(self, encoder: TextEncoder, passages: Passages) -> None:
        self.encoder = encoder
        self.texts = [_spaced(text) for text in passages.whole]
        parted = [[part for part in _SENTENCE.split(text) if part.strip()] for text in passages.whole]
        sentences = [sentence for some in parted for sentence in some]
        self.of_sentence = [list(dict.fromkeys(names(sentence))) for sentence in sentences]
        ends = np.cumsum([len(some) for some in parted]).tolist()
        of_passage = [
            list(dict.fromkeys(name for some in self.of_sentence[end - len(parts) : end] for name in some))
            for end, parts in zip(ends, parted, strict=True)
        ]
        self.vocabulary = sorted({name for some in self.of_sentence for name in some})
        self.number = {name: number for number, name in enumerate(self.vocabulary)}
        self.sentences_of: list[list[int]] = [[] for _ in self.vocabulary]
        for sentence, some in enumerate(self.of_sentence):
            for name in some:
                self.sentences_of[self.number[name]].append(sentence)
        self.sentence_vectors = encoder.encode(sentences).astype(np.float64)
        self.name_vectors = encoder.encode(self.vocabulary).astype(np.float64)
        edges = list[tuple[int, int, float]]()
        for place, (text, some) in enumerate(zip(self.texts, of_passage, strict=True), start=len(self.vocabulary)):
            counts = [text.count(name) for name in some]
            edges += [
                (place, self.number[name], count / sum(counts))
                for name, count in zip(some, counts, strict=True)
                if count
            ]
            if place > len(self.vocabulary):
                edges.append((place - 1, place, 1.0))
        begin, end, weight = (np.array(column) for column in zip(*edges, strict=True))
        self.nodes = len(self.vocabulary) + len(self.texts)
        self.begin, self.end = np.concatenate([begin, end]), np.concatenate([end, begin])
        weight = np.concatenate([weight, weight])
        self.share = weight / np.bincount(self.begin, weight, self.nodes)[self.begin]

    def scores(self, questions: Sequence[str], meaning: Scores, how: Activation = DEFAULT) -> Scores:
        """float64 [questions, passages]; ``meaning`` are the cosines of whole passages, of the same shape."""
        vectors = self.encoder.encode_queries(list(questions)).astype(np.float64)
        rows = [self._ranked(*one, how) for one in zip(questions, vectors, meaning, strict=True)]
        return np.array(rows)

    def _ranked(self, question: str, vector: Scores, meaning: Scores, how: Activation) -> Scores:
        sought = list(dict.fromkeys(names(question)))
        if not sought:
            return meaning
        reset, active = self.activated(sought, vector, how)
        scaled = (meaning - meaning.min()) / (meaning.max() - meaning.min())
        for passage, text in enumerate(self.texts):
            bonus = sum(
                score * math.log(1 + text.count(self.vocabulary[name])) / tier for name, (score, tier) in active.items()
            )
            reset[len(self.vocabulary) + passage] = NODE * (how.ratio * scaled[passage] + math.log(1 + max(bonus, 0.0)))
        return self.walk(np.maximum(reset, 0))[len(self.vocabulary) :]

    def activated(
        self, sought: Sequence[str], vector: Scores, how: Activation
    ) -> tuple[Scores, dict[int, tuple[float, int]]]:
        """Weights of the nodes float64 [n], and name -> (score, tier) of the active ones.

        ``sought`` are the names of a question with the ``vector`` [d].
        """
        weights = np.zeros(self.nodes)
        near = self.name_vectors @ self.encoder.encode(list(sought)).astype(np.float64).T
        active = {int(near[:, one].argmax()): (float(near[:, one].max()), 1) for one in range(len(sought))}
        for name, (score, _) in active.items():
            weights[name] = score
        current, used = dict(active), set[int]()
        for tier in range(2, 2 + how.rounds):
            reached: dict[int, tuple[float, int]] = {}
            for name, (score, _) in current.items():
                left = [sentence for sentence in self.sentences_of[name] if sentence not in used]
                if score < how.threshold or not left:
                    continue
                near_question = self.sentence_vectors[left] @ vector
                for best in np.argsort(-near_question)[: how.sentences].tolist():
                    used.add(left[best])
                    product = score * float(near_question[best])
                    for other in self.of_sentence[left[best]] if product >= how.threshold else ():
                        weights[self.number[other]] += product
                        reached[self.number[other]] = (product, tier)
            active.update(reached)
            current = reached
        return weights, active

    def walk(self, reset: Scores) -> Scores:
        """Personalised PageRank of the nodes, float64 [n], by its powers; a walk restarts by ``reset`` [n] from 0."""
        reset = reset / reset.sum()
        rank = reset
        for _ in range(_STEPS):
            moved = np.bincount(self.end, rank[self.begin] * self.share, self.nodes)
            rank = DAMPING * moved + (1 - DAMPING) * reset
        return rank


def _spaced(text: str) -> str:
    """The words of ``text`` as names have them: in small letters, with one space between two."""
    return " ".join(words(text)).lower()
