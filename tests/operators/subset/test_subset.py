"""The subset and the random one beside it: sizes, sources, settings, and what a batch gets."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from mnemic.errors import RecipeError
from operators.subset import operator as subset
from operators.subset.operator import Subset


class Corpus:
    """Documents with a leaf, a source and a direction each."""

    def __init__(self, documents=300, leaves=7, seed=0):
        draw = np.random.default_rng(seed)
        self.table = pa.table(
            {
                "id": [f"{place:05d}" for place in range(documents)],
                "source": draw.choice(["mail", "notes", "web"], documents, p=[0.1, 0.3, 0.6]).tolist(),
                "leaf": [f"{leaf}" for leaf in draw.integers(0, leaves, documents)],
            }
        )
        self.sums = draw.standard_normal((documents, 16))
        self.most = 0

    def documents(self):
        return self.table

    def vectors(self, places):
        self.most = max(self.most, len(places))
        return self.sums[np.asarray(places, np.int64)]


def chosen(operator, corpus):
    return operator.fit(corpus, "cpu", lambda done, total: None)


def rows_of(fitted, ids):
    batch = fitted(pa.RecordBatch.from_pydict({"id": pa.array(ids, pa.string())}))
    return batch["subset"].to_pylist()


def test_the_random_subset_has_the_size_and_the_sources_of_the_other():
    corpus = Corpus()
    fitted = chosen(Subset(share=0.3), corpus)
    rows = rows_of(fitted, corpus.table["id"].to_pylist())
    sources = corpus.table["source"].to_pylist()
    mixes = [
        Counter(source for row, source in zip(rows, sources, strict=True) if row[method])
        for method in ("leaves", "random")
    ]
    assert mixes[0] == mixes[1] and sum(mixes[0].values()) == 90 == fitted.summary["taken"]
    assert fitted.summary["sources"] == {name: dict(mix) for name, mix in zip(("leaves", "random"), mixes, strict=True)}
    assert [row["leaves"] for row in rows] != [row["random"] for row in rows]


@pytest.mark.parametrize(("train", "column"), [("leaves", "leaves"), ("random", "random"), ("all", None)])
def test_what_is_trained_on_is_what_the_recipe_says(train, column):
    corpus = Corpus()
    rows = rows_of(chosen(Subset(train=train), corpus), [*corpus.table["id"].to_pylist(), "unknown"])
    assert all(row["trained"] == (True if column is None else row[column]) for row in rows)
    assert not rows[-1]["leaves"] and not rows[-1]["random"]


def test_few_documents_at_a_time_give_the_same_choice(monkeypatch):
    corpus = Corpus()
    whole = chosen(Subset(), corpus).state
    monkeypatch.setattr(subset, "AT_ONCE", 50)
    corpus.most = 0
    assert chosen(Subset(), corpus).state == whole and corpus.most < 80


def test_a_large_leaf_is_divided_evenly(monkeypatch):
    corpus = Corpus(documents=1000, leaves=2)
    monkeypatch.setattr(subset, "MOST", 64)
    monkeypatch.setattr(subset, "AT_ONCE", 64)
    fitted = chosen(Subset(alpha=1.0), corpus)
    assert fitted.summary["taken"] == 300 and corpus.most <= 64
    leaves = np.unique(np.array(corpus.table["leaf"].to_pylist()), return_inverse=True)[1]
    parts = subset._divided(leaves)
    assert np.bincount(parts).max() <= 64 and np.ptp(np.bincount(parts)) <= 2
    assert all(len(set(leaves[parts == part])) == 1 for part in set(parts.tolist()))


def test_another_process_gives_the_same_column():
    corpus = Corpus()
    operator = Subset(train="random")
    fitted = chosen(operator, corpus)
    again = operator.restore(fitted.state, None, "cpu")
    ids = corpus.table["id"].to_pylist()[::-1]
    assert rows_of(fitted, ids) == rows_of(again, ids)


def test_a_corpus_of_nothing_has_no_subset():
    fitted = chosen(Subset(), Corpus(documents=0))
    assert rows_of(fitted, ["a"]) == [{"leaves": False, "random": False, "trained": False}]


@pytest.mark.parametrize(
    "settings", [{"share": 0}, {"share": 1.5}, {"method": "error"}, {"alpha": 2}, {"train": "both"}, {"random": False}]
)
def test_settings_that_cannot_be_are_sentences(settings):
    with pytest.raises(RecipeError, match=r"\.$"):
        Subset(**settings)
