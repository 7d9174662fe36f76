"""Pairs and removals against the exact truth, and the memory that deduplication takes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa

from bench.deduplicate.corpus import FOLDER
from bench.deduplicate.ours import InMemory
from bench.deduplicate.truth import jaccard, kept_by_rule, shingles, similar_pairs
from bench.report import Row
from operators.deduplicate import Deduplicate
from operators.deduplicate.bands import keys_of
from operators.deduplicate.estimate import least_agreeing, least_shared
from operators.deduplicate.shingles import Shingler
from operators.deduplicate.signature import from_hexadecimal

THRESHOLD = 0.8


def truth(texts: list[str]) -> dict[str, np.ndarray]:
    """The pairs of at least the threshold, cached beside the corpus."""
    file = FOLDER / "truth.npz"
    if not file.exists():
        one, other, similarity, group = similar_pairs(texts, THRESHOLD)
        np.savez(file, one=one, other=other, similarity=similarity, group=group)
    with np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files}


def quality_rows(table: pa.Table, corpus: InMemory) -> list[Row]:
    """Recall of pairs, precision of removals, F1 of removals."""
    texts = table["text"].to_pylist()
    exact = truth(texts)
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
            similarity = jaccard(shingles(texts[one]), shingles(texts[other]))
            wrong += similarity != pair["similarity"] or similarity < THRESHOLD or bool(removed[other])

    lengths = np.array(corpus.table["length"])
    with_shingles = exact["group"] >= 0
    # The operator ranks by length, then by hash of content, for which the ids stand here; so does the truth.
    order = np.argsort(np.array(ids))
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    keepers = kept_by_rule(lengths[order], *_renumbered(exact, order, back))[back]
    expected = with_shingles & ~keepers
    removals = removed & with_shingles
    right = int((expected & removals).sum())
    precision, recall = right / max(int(removals.sum()), 1), right / max(int(expected.sum()), 1)
    return [
        Row(
            "pair_recall",
            "of pairs with J >= 0.8, proposed and confirmed",
            _recall(operator, corpus, exact),
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


def _renumbered(exact: dict[str, np.ndarray], order: np.ndarray, back: np.ndarray) -> tuple[np.ndarray, ...]:
    group = exact["group"][order]
    return np.where(group >= 0, back[group], -1), back[exact["one"]], back[exact["other"]]


def _recall(operator: Deduplicate, corpus: InMemory, exact: dict[str, np.ndarray]) -> float:
    """Share of the true pairs that share enough bands, agree in enough components, and are similar to the judge."""
    chosen = operator.plan(len(corpus))
    signatures = np.array(corpus.table["signature"].combine_chunks().flatten()).reshape(len(corpus), -1)
    forms = from_hexadecimal(corpus.table["normalised"].combine_chunks())
    keys = keys_of(forms, signatures, np.zeros(len(corpus), np.uint64), chosen.bands, chosen.rows)[:, 1:]
    shared = agreeing = 0
    for start in range(0, len(exact["one"]), 20_000):
        one, other = exact["one"][start : start + 20_000], exact["other"][start : start + 20_000]
        bands = (keys[one] == keys[other]).sum(axis=1) >= least_shared(THRESHOLD, chosen.bands, chosen.rows)
        enough = least_agreeing(THRESHOLD, signatures.shape[1])
        agreeing += int((bands & ((signatures[one] == signatures[other]).sum(axis=1) >= enough)).sum())
        shared += len(one)
    drawn = np.random.default_rng(0).choice(len(exact["one"]), min(2_000, len(exact["one"])), replace=False)
    confirmed = 0
    for at in drawn:
        numbers = pa.array([exact["one"][at], exact["other"][at]])
        one, other = Shingler().distinct(corpus.table["text"].combine_chunks().take(numbers))
        confirmed += jaccard(set(one.tolist()), set(other.tolist())) >= THRESHOLD
    return agreeing / max(shared, 1) * confirmed / max(len(drawn), 1)


MEMORY = """
import json
import pyarrow.parquet as pq
from bench.deduplicate.corpus import FILE
from bench.deduplicate.ours import verified
table = pq.read_table(FILE, columns=["id", "text"])
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
    process = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    growth = json.loads(process.stdout.splitlines()[-1])
    return Row("memory_growth", "RSS growth, all documents, verified", growth, "MB", 300, 150, higher_is_better=False)
