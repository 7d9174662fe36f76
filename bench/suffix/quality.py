"""What suffixes and a gate are worth beside kNN-LM: nats on held-out documents, with weights from validation text.

Two banks are built by `mnemic.build`, and carried on where a run was cut short: the Python environment's documentation
with the demo's recipe, and WikiText-2's validation text, a document a section, a collection an article. The gain of
kNN-LM at its fixed weight on the same 40,000 tokens of the store is 1; shares are of the log-likelihood.

* ``suffix_gain``      suffixes of the store's tokens alone, gated
* ``gated_gain``       the same with the MLP memory beside it: nothing is searched
* ``suffix_all_gain``  suffixes of all kept text but what is held out, its collections and what contains it
* ``suffix_near_gain`` the same with what contains it: near copies alone are left out, as when its bounds were set

Held-out documents are of packages or articles that the store knows. Unknown ones are printed beside them, and so are
losses by the length of the match, and fixed weights.

Expected on machine C of LOG.md (2 busy cores of an Intel Xeon), of documentation: suffix_gain 1.12, gated_gain 1.56,
suffix_all_gain 2.44, suffix_near_gain 3.07.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import mnemic
from bench.imitate.corpora import MODEL, write_sections
from bench.places import CACHE
from bench.report import Row, main, tell
from mnemic import languagemodel
from mnemic.bank import Bank
from mnemic.kept import KEPT
from mnemic.languagemodel.windows import encode
from mnemic.memories.gate_training import weigh
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import ORDER, Scored
from mnemic.memories.scored_rows import scored_by_all, scored_rows
from mnemic.memories.suffix import ORDERS
from mnemic.mixture import best_weight, mixture_nll, perplexity
from mnemic.splits import STORE, VALIDATION, in_part
from mnemic.suffixes.evidence import evidence
from mnemic.suffixes.features import features, names_of
from mnemic.suffixes.index import SuffixIndex
from mnemic.suffixes.shard import Shard
from mnemic.suffixes.stored import LEAK
from pipelines.evaluate.bootstrap import bootstrap
from pipelines.evaluate.copies import SPAN, by_length
from pipelines.evaluate.gain import recovered

FOLDER = CACHE / "suffix"
CORPORA = ("documentation", "wikitext")
PARTS = {"document": "known", "collection": "unknown"}
Losses = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """A number: the share of memories under their gate, and its bounds."""

    id: str
    memories: tuple[str, ...]
    must: dict[str, tuple[float, float]]  # corpus -> must, goal


TARGETS = (
    Target("suffix_gain", ("suffix",), {"documentation": (0.9, 1.0), "wikitext": (0.6, 0.75)}),
    Target("gated_gain", ("mlp", "suffix"), {"documentation": (1.35, 1.5), "wikitext": (1.07, 1.15)}),
    Target("suffix_all_gain", ("all",), {"documentation": (2.5, 3.0)}),
    Target("suffix_near_gain", ("near",), {"documentation": (2.5, 3.0)}),
    Target("mlp_gated_gain", ("mlp",), {}),
    Target("knn_gated_gain", ("knn",), {}),
    Target("every_gain", ("knn", "mlp", "suffix"), {}),
    Target("mlp_all_gain", ("all", "mlp"), {}),
)


def quality_rows(quick: bool) -> list[Row]:
    rows: list[Row] = []
    for name in CORPORA[:1] if quick else CORPORA:
        bank = build(name, quick)
        rows += measured(name, bank)
    return rows


def build(name: str, quick: bool) -> Bank:
    """The bank of a corpus: built, carried on, or as a run before has left it."""
    size = 10_000 if quick else 40_000
    source: dict[str, Any] = {"kind": "python-environment", "sample_characters": 500_000 if quick else 3_000_000}
    if name == "wikitext":
        write_sections(FOLDER / "wikitext-sections")
        source = {"kind": "folder", "path": str(FOLDER / "wikitext-sections")}
    recipe = {
        "name": f"suffix-{name}",
        "bank": str(FOLDER / (f"{name}-quick" if quick else name)),
        "sources": [source],
        "language_model": MODEL,
        "split": {"tokens": size, "held_out_tokens": 3 * size // 4},
        "imitate": {"blocks": 2},
        "suffixes": {},
    }
    result = mnemic.build(recipe, engine="inline", device="cpu")
    tell(f"{name}: " + ", ".join(f"{step.step} {step.seconds:.1f} s" for step in result.steps))
    return mnemic.open_bank(result.bank)


@dataclass(frozen=True)
class Part:
    """Rows of a part of the held-out text, what each memory says of them, and the lengths of their matches."""

    rows: HeldOutRows
    scored: dict[str, Scored]
    lengths: npt.NDArray[np.int64]

    def losses(self, names: Sequence[str], by: Part) -> Losses:
        """Of each token under the gate of these memories, or the fixed weights, that is chosen on ``by``."""
        ordered = sorted(names)
        weighing = weigh(scored_rows(by.rows, [by.scored[name] for name in ordered]))
        return weighing.losses(scored_rows(self.rows, [self.scored[name] for name in ordered]))

    def fixed(self, name: str, by: Part) -> Losses:
        """With one memory at the fixed weight that is best on ``by``."""
        own, chosen = (part.scored[name].logs[:, 0] for part in (self, by))
        return mixture_nll(self.rows.base, own, best_weight(by.rows.base, chosen)[0])


def measured(corpus: str, bank: Bank) -> list[Row]:
    """All numbers of one corpus."""
    indexes = {"suffix": stored(bank), "near": every(bank, contained=None), "all": every(bank)}
    tell(f"{corpus}: {indexes['suffix'].places:,} places of the store, {indexes['all'].places:,} of all text")
    parts = {name: _part(bank, where, indexes) for name, where in _wheres().items()}
    validation, rows = parts.pop("validation"), list[Row]()
    for part, test in parts.items():
        if not len(test.rows):
            continue
        base, document = -test.rows.base, test.rows.table["document"].to_numpy()
        retriever = test.fixed("knn", validation)
        gated = {target.memories: test.losses(target.memories, validation) for target in TARGETS}
        place = f"{corpus}, {PARTS[part]}: {len(np.unique(document))} documents, {len(base):,} tokens"
        tell(f"\n{place}: base {perplexity(base):.2f}, kNN-LM at its fixed weight {perplexity(retriever):.2f}")
        _tell_lengths(test, {"base": base, "kNN-LM": retriever} | {"+".join(n): one for n, one in gated.items()})
        for target in TARGETS:
            loss = gated[target.memories]
            compared, share = bootstrap(base, loss, document), recovered(base, retriever, loss, document)
            must, goal = target.must.get(corpus, (None, None)) if part == "document" else (None, None)
            suffix = "" if (corpus, part) == ("documentation", "document") else f"_{corpus}_{PARTS[part]}"
            words = f"{' + '.join(target.memories)}, perplexity {compared.perplexity.value:.2f}"
            interval = f"of kNN-LM's gain, 95 % {share.low:.2f} to {share.high:.2f}"
            rows.append(Row(f"{target.id}{suffix}", f"{words}; {interval}; {place}", share.value, "", must, goal))
        spans = float((test.lengths >= SPAN).mean())
        rows.append(Row(f"matched_{corpus}_{PARTS[part]}", f"tokens after a match of 8 and more; {place}", spans, ""))
    return rows


def _wheres() -> dict[str, str]:
    return {"validation": VALIDATION, **{part: in_part(f"test-{part}") for part in PARTS}}


def stored(bank: Bank) -> SuffixIndex:
    """The index of the tokens that the store has, and no others: what kNN-LM searches."""
    documents = bank.table("documents", ["id", "text"], STORE)
    tokens = _tokens(bank, documents["text"].to_pylist(), bank.release.recipe["split"]["max_document_tokens"])
    return _index(bank, tokens, documents["id"].to_pylist())


def every(bank: Bank, contained: float | None = LEAK) -> SuffixIndex:
    """The index of all kept text but held-out documents, their near copies and collections.

    A document that holds the share ``contained`` of one's word 5-grams is left out too.
    """
    held_out = bank.table("documents", ["collection"], "split LIKE '%-collection'")["collection"].to_pylist()
    where = f"{KEPT} AND (split = '' OR {STORE})" + ("" if contained is None else f" AND contained < {contained}")
    documents = bank.table("documents", ["id", "text", "collection"], where)
    chosen = [(row["id"], row["text"]) for row in documents.to_pylist() if row["collection"] not in set(held_out)]
    return _index(bank, _tokens(bank, [text for _, text in chosen], None), [id for id, _ in chosen])


def _tokens(bank: Bank, texts: list[str], limit: int | None) -> list[npt.NDArray[np.int32]]:
    tokenizer = languagemodel.tokenizer(bank.release.recipe["language_model"])
    if limit is not None:
        return encode(texts, tokenizer, limit)[0]
    encoded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []
    return [np.asarray(row, np.int32) for row in encoded]


def _index(bank: Bank, tokens: list[npt.NDArray[np.int32]], ids: list[str]) -> SuffixIndex:
    vocabulary = int(languagemodel.describe(bank.release.recipe["language_model"])["vocabulary"])
    return SuffixIndex([Shard.of(tokens, ids, vocabulary)])


def _part(bank: Bank, where: str, indexes: dict[str, SuffixIndex]) -> Part:
    rows = HeldOutRows.read(bank.view, where)
    names = ("knn", "mlp") if len(rows) else ()
    scored = dict(zip(names, scored_by_all([bank.memory(name) for name in names], rows), strict=True))
    lengths = np.zeros(len(rows), np.int64)
    for name, index in indexes.items():
        own = evidence(index, rows, ORDERS)
        components = (name, *(f"{name}{ORDER}{order}" for order in range(2, ORDERS + 1)))
        scored[name] = Scored(components, own.log_probs, names_of(name, ORDERS), features(own))
        lengths = own.lengths[:, 0]
    return Part(rows, scored, lengths)


def _tell_lengths(part: Part, losses: dict[str, Losses]) -> None:
    """Mean losses by the length of the match in the index of all text."""
    buckets = by_length(part.lengths, losses)
    tell(f"  {'nats a token by match':<24}" + "".join(f"{bucket.least:>9}+" for bucket in buckets))
    tell(f"  {'tokens':<24}" + "".join(f"{bucket.tokens:>10,}" for bucket in buckets))
    for name in losses:
        tell(f"  {name:<24}" + "".join(f"{bucket.losses[name]:>10.3f}" for bucket in buckets))


if __name__ == "__main__":
    sys.exit(main("suffix.quality", __doc__ or "", quality_rows))
