"""LinearRAG's rule (Zhuang et al., arXiv 2510.10114) as its code runs it, with our encoder and names by capitals.

A graph of passages and names: a name is joined to a passage by its share of all names there, a passage to the next one
by 1. The name nearest to each name of a question is active with its cosine; its three best sentences make the names in
them active with their product, twice, down to 0.4. A walk restarts there, and at the passages with a weight of 0.05 (2
cosine + log(1 + what active names they hold)). Numbers are those of its run script. The paper's names come of a
transformer for entities and its vectors of all-mpnet-base-v2, so this tells what the rule does with equal means.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from bench.written.passages import Passages, Scores
from mnemic.encoder import TextEncoder

THRESHOLD, ROUNDS, SENTENCES = 0.4, 2, 3
RATIO, NODE, DAMPING = 2.0, 0.05, 0.5
_STEPS = 40
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
_SMALL = "of|the|de|la|du|von|van|der|and|in|for"
_NAME = re.compile(rf"[A-Z0-9][\w.'-]*(?:[ -](?:(?:{_SMALL})[ -])*[A-Z0-9][\w.'-]*)*")
_COMMON = frozenset(
    re.findall(
        "[a-z]+",
        "the a an in on at it he she they his her its this that these those there after before during when while where "
        "who what which as for from by with and but or if although however also since until both one two first many "
        "some most other such was is are were i we you your their our did do does how why has have had",
    )
)


def names(text: str) -> list[str]:
    """Runs of words with a capital, without common words before them, in order."""
    runs = []
    for match in _NAME.finditer(text):
        words = match[0].split(" ")
        while words and words[0].lower() in _COMMON:
            words = words[1:]
        name = " ".join(words).strip(".,'-").lower()
        if len(name) > 2 and not name.isdigit():
            runs.append(name)
    return runs


class LinearRag:
    """``meaning`` are cosines of whole passages, float64 [questions, passages]."""

    def __init__(self, encoder: TextEncoder, passages: Passages) -> None:
        self.encoder = encoder
        self.texts = [text.lower() for text in passages.whole]
        sentences = [part for text in passages.whole for part in _SENTENCE.split(text) if part.strip()]
        self.of_sentence = [list(dict.fromkeys(names(sentence))) for sentence in sentences]
        counts = [Counter(names(text)) for text in passages.whole]
        vocabulary = sorted({name for one in (*counts, *self.of_sentence) for name in one})
        self.number = {name: number for number, name in enumerate(vocabulary)}
        self.sentences_of: list[list[int]] = [[] for _ in vocabulary]
        for sentence, some in enumerate(self.of_sentence):
            for name in some:
                self.sentences_of[self.number[name]].append(sentence)
        self.sentence_vectors = encoder.encode(sentences).astype(np.float64)
        self.name_vectors = encoder.encode(vocabulary).astype(np.float64)
        edges = [
            (len(vocabulary) + passage, self.number[name], count / sum(one.values()))
            for passage, one in enumerate(counts)
            for name, count in one.items()
        ]
        edges += [(len(vocabulary) + passage, len(vocabulary) + passage + 1, 1.0) for passage in range(len(counts) - 1)]
        begin, end, weight = (np.array(column) for column in zip(*edges, strict=True))
        self.nodes = len(vocabulary) + len(counts)
        self.begin, self.end = np.concatenate([begin, end]), np.concatenate([end, begin])
        self.weight = np.concatenate([weight, weight])
        degree = np.bincount(self.begin, self.weight, self.nodes)
        self.share = self.weight / degree[self.begin]

    def scores(self, questions: Sequence[str], meaning: Scores) -> Scores:
        vectors = self.encoder.encode_queries(list(questions)).astype(np.float64)
        rows = [self._ranked(*one) for one in zip(questions, vectors, meaning, strict=True)]
        return np.array(rows)

    def _ranked(self, question: str, vector: Scores, meaning: Scores) -> Scores:
        sought = list(dict.fromkeys(names(question)))
        if not sought:
            return meaning
        weights, active = self._activated(sought, vector)
        scaled = (meaning - meaning.min()) / (meaning.max() - meaning.min())
        vocabulary = list(self.number)
        for passage, text in enumerate(self.texts):
            bonus = sum(
                score * math.log(1 + text.count(vocabulary[name])) / tier for name, (score, tier) in active.items()
            )
            place = len(vocabulary) + passage
            weights[place] = NODE * (RATIO * scaled[passage] + math.log(1 + max(bonus, 0.0)))
        reset = np.maximum(weights, 0)
        reset /= reset.sum()
        walk = reset.copy()
        for _ in range(_STEPS):
            moved = np.bincount(self.end, walk[self.begin] * self.share, self.nodes)
            walk = DAMPING * moved + (1 - DAMPING) * reset
        return walk[len(vocabulary) :]

    def _activated(self, sought: list[str], vector: Scores) -> tuple[Scores, dict[int, tuple[float, int]]]:
        """Weights of the nodes float64 [n], and name -> (score, tier) of the active ones."""
        weights = np.zeros(self.nodes)
        near = self.name_vectors @ self.encoder.encode(sought).astype(np.float64).T
        active = {int(near[:, one].argmax()): (float(near[:, one].max()), 1) for one in range(len(sought))}
        for name, (score, _) in active.items():
            weights[name] = score
        current, used = dict(active), set[int]()
        for tier in range(2, 2 + ROUNDS):
            reached: dict[int, tuple[float, int]] = {}
            for name, (score, _) in current.items():
                left = [sentence for sentence in self.sentences_of[name] if sentence not in used]
                if score < THRESHOLD or not left:
                    continue
                near_question = self.sentence_vectors[left] @ vector
                for best in np.argsort(-near_question)[:SENTENCES].tolist():
                    used.add(left[best])
                    product = score * float(near_question[best])
                    for other in self.of_sentence[left[best]] if product >= THRESHOLD else ():
                        weights[self.number[other]] += product
                        reached[self.number[other]] = (product, tier)
            active.update(reached)
            current = reached
        return weights, active
