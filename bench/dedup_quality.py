"""What deduplication finds, against the exact truth; and the memory that it takes for it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa

from bench.dedup_corpus import CACHE
from bench.dedup_truth import jaccard, kept_by_rule, shingles, similar_pairs
from bench.report import Row
from operators.deduplicate import Deduplicate
from operators.deduplicate.bands import keys_of
from operators.deduplicate.estimate import least_agreeing, least_shared
from operators.deduplicate.shingles import Shingler
from operators.deduplicate.signature import from_hexadecimal

THRESHOLD = 0.8


def truth(texts: list[str]) -> dict[str, np.ndarray]:
    """The pairs of at least the threshold, cached beside the corpus."""
    made = CACHE / "truth.npz"
    if not made.exists():
        one, other, similarity, group = similar_pairs(texts, THRESHOLD)
        np.savez(made, one=one, other=other, similarity=similarity, group=group)
    with np.load(made) as found:
        return {name: found[name] for name in found.files}


def quality_rows(table: pa.Table, corpus: Any) -> list[Row]:
    """Recall of pairs, precision of removals, F1 of removals."""
    texts = table["text"].to_pylist()
    known = truth(texts)
    operator = Deduplicate()
    fitted = operator.fit(corpus, "cpu", lambda done, total: None)
    ids = table["id"].to_pylist()
    column = fitted(pa.record_batch({"id": table["id"].combine_chunks()}))["duplicate_of"].to_pylist()
    removed = np.array([bool(keeper) for keeper in column])

    place = {name: number for number, name in enumerate(ids)}
    wrong = 0
    for pair in fitted.tables["pairs"].to_pylist():
        if pair["verdict"] == "duplicate" and pair["rule"] == "jaccard":
            one, other = place[pair["document"]], place[pair["other"]]
            exact = jaccard(shingles(texts[one]), shingles(texts[other]))
            wrong += exact != pair["similarity"] or exact < THRESHOLD or bool(removed[other])

    lengths = np.array(corpus.table["length"])
    with_shingles = known["group"] >= 0
    # The operator ranks by length, then by hash of content, for which the ids stand here; so does the truth.
    order = np.argsort(np.array(ids))
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    kept = kept_by_rule(lengths[order], *_renumbered(known, order, back))[back]
    wanted = with_shingles & ~kept
    found = removed & with_shingles
    right = int((wanted & found).sum())
    precision, recall = right / max(int(found.sum()), 1), right / max(int(wanted.sum()), 1)
    return [
        Row(
            "pair_recall",
            "of pairs with J >= 0.8, proposed and confirmed",
            _recall(operator, corpus, known),
            "",
            0.99,
            0.997,
        ),
        Row(
            "precision",
            "removals with their stored, exact J >= 0.8 to a kept one",
            1 - wrong / max(int(removed.sum()), 1),
            "",
            1.0,
            1.0,
        ),
        Row(
            "removal_f1",
            "removals against the keep rule on the truth",
            2 * precision * recall / (precision + recall),
            "",
            0.99,
            0.998,
        ),
    ]


def _renumbered(known: dict[str, np.ndarray], order: np.ndarray, back: np.ndarray) -> tuple[np.ndarray, ...]:
    group = known["group"][order]
    return np.where(group >= 0, back[group], -1), back[known["one"]], back[known["other"]]


def _recall(operator: Deduplicate, corpus: Any, known: dict[str, np.ndarray]) -> float:
    """Share of the true pairs that share enough bands, agree in enough components, and are similar to the judge."""
    chosen = operator.plan(len(corpus))
    signatures = np.array(corpus.table["signature"].combine_chunks().flatten()).reshape(len(corpus), -1)
    forms = from_hexadecimal(corpus.table["normalised"].combine_chunks())
    keys = keys_of(forms, signatures, np.zeros(len(corpus), np.uint64), chosen.bands, chosen.rows)[:, 1:]
    shared = agreeing = 0
    for start in range(0, len(known["one"]), 20_000):
        one, other = known["one"][start : start + 20_000], known["other"][start : start + 20_000]
        bands = (keys[one] == keys[other]).sum(axis=1) >= least_shared(THRESHOLD, chosen.bands, chosen.rows)
        enough = least_agreeing(THRESHOLD, signatures.shape[1])
        agreeing += int((bands & ((signatures[one] == signatures[other]).sum(axis=1) >= enough)).sum())
        shared += len(one)
    drawn = np.random.default_rng(0).choice(len(known["one"]), min(2_000, len(known["one"])), replace=False)
    confirmed = 0
    for at in drawn:
        numbers = pa.array([known["one"][at], known["other"][at]])
        one, other = Shingler().distinct(corpus.table["text"].combine_chunks().take(numbers))
        confirmed += jaccard(set(one.tolist()), set(other.tolist())) >= THRESHOLD
    return agreeing / max(shared, 1) * confirmed / max(len(drawn), 1)


MEMORY = """
import json, sys, threading
import pyarrow.parquet as pq
from bench.dedup_corpus import CACHE
from bench.deduplicate import verified
table = pq.read_table(CACHE / "corpus.parquet", columns=["id", "text"])
ids, texts = table["id"].combine_chunks(), table["text"].combine_chunks()
del table
verified(ids.slice(0, 2000), texts.slice(0, 2000))
def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) / 1024
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
verified(ids, texts)
print(json.dumps(status("VmHWM") - before))
"""


def memory_row() -> Row:
    """In a process of its own, which has read the corpus and is warm."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    grown = json.loads(done.stdout.splitlines()[-1])
    return Row("memory_growth", "RSS growth, all documents, verified", grown, "MB", 300, 150, higher_is_better=False)
