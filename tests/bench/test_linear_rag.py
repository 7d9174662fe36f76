"""The peer that follows LinearRAG's rule: its walk against PageRank by its definition, and a question of two hops."""

import re
import zlib

import numpy as np

from bench.written.linear_rag import DAMPING, Activation, LinearRag
from bench.written.passages import Passages, best

PASSAGES = Passages(
    "made",
    ["Iron Song", "Dora Field", "Paper Boat", "Emil Brook"],
    [
        "Iron Song is a film. It was made by Dora Field.",
        "She was born in Oslo. Her house is blue.",
        "Paper Boat is a film. It was made by Emil Brook.",
        "He was born in Lyon. His house is red.",
    ],
    [("Where was the maker of Iron Song born?", frozenset({0, 1}))],
)


class WordVectors:
    """Stands for an encoder: a text is the sum of the drawn vectors of its words, with length 1."""

    def encode(self, texts):
        rows = [sum(map(self._drawn, re.findall(r"\w+", text.lower()))) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows])

    encode_queries = encode

    def _drawn(self, word):
        return np.random.default_rng(zlib.crc32(word.encode())).standard_normal(64)


def scores_of(how):
    encoder = WordVectors()
    peer = LinearRag(encoder, PASSAGES)
    questions = [question for question, _ in PASSAGES.questions]
    meaning = encoder.encode_queries(questions) @ encoder.encode(PASSAGES.whole).T
    return peer, peer.scores(questions, meaning, how)


def test_the_walk_is_pagerank_by_its_definition():
    peer, _ = scores_of(Activation(1, 1, 0.1, 1.0))
    steps = np.zeros((peer.nodes, peer.nodes))
    steps[peer.end, peer.begin] = peer.share
    reset = np.random.default_rng(3).random(peer.nodes)
    reset /= reset.sum()
    exact = np.linalg.solve(np.eye(peer.nodes) - DAMPING * steps, (1 - DAMPING) * reset)
    assert np.abs(peer.walk(reset) - exact).max() < 1e-9
    assert np.allclose(steps.sum(axis=0), 1.0), "every node passes all that it has"


def test_a_sentence_makes_the_names_in_it_active_and_their_passage_is_found():
    peer, scores = scores_of(Activation(rounds=2, sentences=1, threshold=0.05, ratio=0.5))
    assert {"iron song", "dora field", "paper boat", "emil brook"} <= set(peer.vocabulary)
    [vector] = peer.encoder.encode(["Where was the maker of Iron Song born?"])
    sentences = [number for number, some in enumerate(peer.of_sentence) if "iron song" in some]
    score = max(float(peer.sentence_vectors[number] @ vector) for number in sentences)
    weights, active = peer.activated(["iron song"], vector, Activation(1, 1, 0.05, 0.5))
    first = peer.number["iron song"]
    assert abs(active[first][0] - score) < 1e-9 and active[first][1] == 2
    assert abs(weights[first] - 1.0 - score) < 1e-9, "it is active by itself, and again by its sentence"
    assert not peer.activated(["iron song"], vector, Activation(1, 1, 2.0, 0.5))[0][first] > 1.0 + 1e-9
    assert best(scores, 2)[0] == [0, 1]
