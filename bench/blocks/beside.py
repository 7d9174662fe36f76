"""Blocks and slots beside memories at the output (kNN-LM, MLP memory, suffixes), each alone and all together."""

from __future__ import annotations

from bench.report import Row
from mnemic.bank import Bank
from pipelines.evaluate.blocks import block_perplexities


def beside_rows(bank: Bank) -> list[Row]:
    """Perplexity over that of the model alone on held-out documents of the bank, with 95 % over documents.

    Shares of memories at the output are those of the bank's tuning, each for itself. Only tokens of the datastore are
    scored in mixtures, and all of them by what is inside alone.
    """
    rows: list[Row] = []
    for part in block_perplexities(bank):
        what = f"held-out {part.part}s, {part.documents} documents, {part.tokens:,} tokens"
        rows.append(Row("beside_perplexity", f"the model alone, {what}", part.base, ""))
        for name, one in {**part.comparisons, **part.together}.items():
            ratio = one.ratio
            words = f"{name} / the model alone (95 % {ratio.low:.3f} to {ratio.high:.3f}), {part.part}s"
            rows.append(Row("beside", words, ratio.value, "x", higher_is_better=False))
    return rows
