"""Passages with titles, questions that need several of them, and the peers that rank whole passages.

MuSiQue-100 and HotpotQA-100 are HippoRAG's tuning samples: 100 questions each over 1,890 and 994 passages. Gold are the
supporting passages. A peer ranks passages as "title, line break, text": BM25 in numpy, cosines of the encoder's vectors
of whole passages, and the two fused by reciprocal ranks with the constant 20.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench import data
from mnemic.encoder import TextEncoder
from pipelines.evaluate.bootstrap import mean_interval

RANK_CONSTANT, DEPTH = 20, 200
_WORD = re.compile(r"[a-z0-9]+")
_STOP = frozenset(
    _WORD.findall(
        "a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
        "this to was will with"
    )
)
"""Lance's stop words of English."""

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Passages:
    """``titles`` and ``texts`` of passages, and ``questions`` with the numbers of the passages that answer each."""

    name: str
    titles: list[str]
    texts: list[str]
    questions: list[tuple[str, frozenset[int]]]

    @property
    def whole(self) -> list[str]:
        return [f"{title}\n{text}" for title, text in zip(self.titles, self.texts, strict=True)]


def hotpotqa() -> Passages:
    """Raises `bench.data.MissingData`."""
    corpus = json.loads(data.path("multihop", "multihop/hotpotqa_train_corpus.json").read_text())
    place = {title: number for number, title in enumerate(corpus)}
    questions = [
        (one["question"], frozenset(place[title] for title, _ in one["supporting_facts"] if title in place))
        for one in json.loads(data.path("multihop", "multihop/hotpotqa_train.json").read_text())
    ]
    return Passages("hotpotqa", list(corpus), ["".join(text) for text in corpus.values()], _answered(questions))


def musique() -> Passages:
    """Raises `bench.data.MissingData`."""
    corpus = json.loads(data.path("multihop", "multihop/musique_train_corpus.json").read_text())
    place = {(one["title"], one["text"].strip()): number for number, one in enumerate(corpus)}
    questions = []
    for one in json.loads(data.path("multihop", "multihop/musique_train.json").read_text()):
        gold = [(text["title"], text["paragraph_text"].strip()) for text in one["paragraphs"] if text["is_supporting"]]
        questions.append((one["question"], frozenset(place[text] for text in gold if text in place)))
    return Passages("musique", [one["title"] for one in corpus], [one["text"] for one in corpus], _answered(questions))


def _answered(questions: list[tuple[str, frozenset[int]]]) -> list[tuple[str, frozenset[int]]]:
    return [(question, gold) for question, gold in questions if gold]


def save(passages: Passages, folder: Path) -> Path:
    """The passages as JSON Lines, each with its number as id; a file that is there already keeps its time."""
    file = folder / f"{passages.name}.jsonl"
    pairs = enumerate(zip(passages.titles, passages.texts, strict=True))
    lines = [json.dumps({"id": str(number), "title": title, "text": text}) + "\n" for number, (title, text) in pairs]
    if not file.exists() or file.read_text(encoding="utf-8") != "".join(lines):
        file.write_text("".join(lines), encoding="utf-8")
    return file


def bm25(texts: Sequence[str], questions: Sequence[str], k1: float = 1.2, b: float = 0.75) -> Scores:
    """Okapi BM25 with Lance's constants, float64 [questions, texts]; no stems."""
    counts = [Counter(_words(text)) for text in texts]
    lengths = np.array([sum(one.values()) for one in counts], np.float64)
    norms = k1 * (1 - b + b * lengths / max(float(lengths.mean()), 1e-9))
    postings: dict[str, list[tuple[int, int]]] = {}
    for number, one in enumerate(counts):
        for word, count in one.items():
            postings.setdefault(word, []).append((number, count))
    scores = np.zeros((len(questions), len(texts)))
    for row, question in enumerate(questions):
        for word in set(_words(question)) & postings.keys():
            places, frequencies = np.array(postings[word]).T
            weight = np.log(1 + (len(texts) - len(places) + 0.5) / (len(places) + 0.5))
            scores[row, places] += weight * frequencies * (k1 + 1) / (frequencies + norms[places])
    return scores


def dense(encoder: TextEncoder, texts: list[str], questions: list[str]) -> Scores:
    """Cosines of whole texts, each encoded once, float64 [questions, texts]."""
    return (encoder.encode_queries(questions) @ encoder.encode(texts).T).astype(np.float64)


def fused(*scores: Scores) -> Scores:
    """Reciprocal rank fusion of the `DEPTH` best of each, float64 [questions, texts]."""
    summed = np.zeros(scores[0].shape)
    for one in scores:
        ranks = np.argsort(np.argsort(-one, axis=1, kind="stable"), axis=1, kind="stable") + 1
        summed += np.where(ranks <= DEPTH, 1 / (RANK_CONSTANT + ranks), 0.0)
    return summed


def best(scores: Scores, count: int) -> list[list[int]]:
    """The ``count`` best of each row, best first."""
    order: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :count].tolist()
    return order


def recall(orders: Sequence[Sequence[int]], passages: Passages, k: int) -> Scores:
    """The share of each question's gold passages among its ``k`` best, float64 [questions]."""
    pairs = zip(orders, passages.questions, strict=True)
    return np.array([len(gold & set(order[:k])) / len(gold) for order, (_, gold) in pairs])


def interval(shares: Scores) -> tuple[float, float]:
    """The middle 95 % of the mean under a bootstrap over questions."""
    middle = mean_interval(shares)
    return middle.low, middle.high


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.lower()) if word not in _STOP]
