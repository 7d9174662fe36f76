"""Relations that are like a question, against every word of every relation."""

import math
import random
import re
from collections import Counter

import numpy as np
import pyarrow as pa
from test_graph import release
from test_pairs import relations_of

from mnemic.links.facts import BEST, Facts
from mnemic.links.names import is_name

WORDS = "river film wife made born director of the Ada rain 1931 song".split()  # noqa: SIM905


def labelled(triples):
    """``triples`` are (document, subject, label, object); the table, and made-up numbers of their ends."""
    table = relations_of(triples)
    ends = np.array([[number * 2, number * 2 + 1 if number % 3 else -1] for number in range(len(triples))], np.int64)
    return table, ends.reshape(-1, 2)


def by_the_definition(triples, ends, question, documents):
    every = [re.findall(r"\w+", " ".join(one[1:]).lower()) for one in triples]
    counts = Counter(word for one in every for word in one)
    rarity = {word: math.log1p(len(triples) / count) for word, count in counts.items()}
    sought = {word for word in re.findall(r"\w+", question.lower()) if is_name(word)}
    scores = []
    for (document, *parts), one, end in zip(triples, every, ends.tolist(), strict=True):
        if document in documents:
            shared = sum(rarity[word] for word in one if word in sought)
            order = (documents.index(document), " ".join(parts).lower())
            scores.append((-shared / math.sqrt(sum(rarity[word] for word in one)), order, end))
    scores.sort(key=lambda one: (round(one[0], 12), one[1]))
    return sorted({end for score, _, pair in scores[:BEST] if score < 0 for end in pair if end >= 0})


def test_the_best_are_those_of_the_definition_whatever_the_order_of_rows():
    draw = random.Random(6)
    for _ in range(150):
        rows = [(f"d{number}", "t", None) for number in range(6)]
        titles, _ = release(rows, [])
        triples = list(
            {
                (draw.choice(rows)[0], *(" ".join(draw.choices(WORDS, k=draw.randint(1, 3))) for _ in range(3))): None
                for _ in range(draw.randint(1, 20))
            }
        )
        table, ends = labelled(triples)
        documents = sorted(row[0] for row in draw.sample(rows, 4))
        question = " ".join(draw.choices([*WORDS, "who", "nobody"], k=5))
        facts = Facts.of(table, titles, ends)
        best = facts.like(question, titles.places(documents)).tolist()
        texts = Counter(" ".join(one[1:]).lower() for one in triples)
        if max(texts.values()) == 1:
            assert best == by_the_definition(triples, ends, question, documents)
        order = draw.sample(range(len(triples)), len(triples))
        again = Facts.of(table.take(pa.array(order)), titles, ends[order])
        assert again.like(question, titles.places(documents)).tolist() == best or max(texts.values()) > 1


def test_a_relation_of_another_document_or_without_a_word_says_nothing():
    titles, _ = release([("d1", "t", None), ("d2", "t", None)], [])
    table, ends = labelled([("d1", "Ada", "made", "film"), ("d2", "Ben", "sang", "song")])
    facts = Facts.of(table, titles, ends)
    assert facts.like("who made the film?", titles.places(["d2"])).tolist() == []
    assert facts.like("who sang?", titles.places(["d2"])).tolist() == [2, 3]
    assert facts.like("who is the of?", titles.places(["d1", "d2"])).tolist() == []
    assert facts.like("", titles.places([])).tolist() == []
    none, nothing = labelled([])
    assert Facts.of(none, titles, nothing).like("who made it?", titles.places(["d1"])).tolist() == []
