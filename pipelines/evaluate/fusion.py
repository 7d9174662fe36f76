"""One memory of several banks, beside those of the banks: alone, all attached, and their weights averaged.

All are asked for the same held-out tokens of the union: of documents that neither the one memory nor any bank has in
its store, by the hashes of their texts. Mixing weights are chosen on the validation part and then frozen; intervals
resample documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemic.bank import Bank
from mnemic.errors import BankError
from mnemic.memories.held_out import HeldOutRows
from mnemic.memories.kinds import Memory
from mnemic.mixture import best_shares, perplexity, shares_nll
from mnemic.quoting import one_of
from mnemic.splits import STORE, TEST, VALIDATION
from pipelines.evaluate.bootstrap import Comparison, bootstrap
from pipelines.keyset import KeySet

Logs = NDArray[np.float64]

_AT_ONCE = 1000


@dataclass(frozen=True)
class FusedMemory:
    """Perplexities of a memory that was trained on all banks, and what they are compared with.

    ``base`` is that of the model alone, ``alone`` those of each bank's memory, by the bank's name; ``attached`` all of
    these with ``shares``, ``average`` their mean weights (None, and ``apart`` says why). ``gain`` compares ``fused``
    with ``attached``: below a ratio of 1 the one memory is better.
    """

    memory: str
    documents: int
    tokens: int
    base: float
    alone: Mapping[str, Comparison]
    attached: Comparison
    shares: Mapping[str, float]
    average: Comparison | None
    fused: Comparison
    gain: Comparison
    apart: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def unseen_rows(union: Bank, banks: Sequence[Bank], where: str) -> HeldOutRows:
    """The held-out rows of ``union`` whose documents no bank has in its store."""
    rows = HeldOutRows.read(union.view, where)
    ids = sorted(set(rows.table["document"].to_pylist()))
    stored = KeySet()
    for bank in banks:
        stored |= KeySet(bank.dataset("documents").scan(["content"], STORE, batch_size=65536))
    unseen = list[pa.Array]()
    for start in range(0, len(ids), _AT_ONCE):
        some = union.dataset("documents").scan(["id", "content"], one_of("id", ids[start : start + _AT_ONCE]))
        unseen += [batch["id"].filter(pa.array(~stored.has(batch.select(["content"])))) for batch in some]
    mine = pa.compute.is_in(rows.table["document"], value_set=pa.chunked_array(unseen, pa.string()).combine_chunks())
    return replace(rows, table=rows.table.filter(mine))


def fusion(union: Bank, banks: Mapping[str, Bank], name: str, average: Memory | None, apart: str = "") -> FusedMemory:
    """The numbers of the memory ``name``; ``average`` is that of the banks, or ``apart`` says why there is none.

    Raises `BankError` where no text is left to measure on.
    """
    parts = [unseen_rows(union, list(banks.values()), where) for where in (VALIDATION, TEST)]
    if not all(len(rows) for rows in parts):
        raise BankError(
            f"{union.path} has no held-out documents for validation and for the test that no bank has in its store, so "
            "its memories cannot be compared. Raise `split.held_out_tokens` in the first bank's recipe, or take more "
            "text."
        )
    memories = {bank: one.memory(name) for bank, one in banks.items()}
    scores = [{bank: _logs(memory, rows) for bank, memory in memories.items()} for rows in parts]
    fused = [_logs(union.memory(name), rows) for rows in parts]
    means = None if average is None else [_logs(average, rows) for rows in parts]
    validation, test = parts
    shares = best_shares(validation.base, list(scores[0].values()))[0]
    attached = _mixed(test, list(scores[1].values()), shares)
    documents = test.table["document"].to_numpy()

    def alone(logs: Sequence[Logs]) -> Logs:
        """The loss of one memory at the share that is best on validation text."""
        return _mixed(test, [logs[1]], best_shares(validation.base, [logs[0]])[0])

    def compared(loss: Logs, to: Logs | None = None) -> Comparison:
        return bootstrap(-test.base if to is None else to, loss, documents)

    loss = alone(fused)
    return FusedMemory(
        memory=name,
        documents=len(set(documents.tolist())),
        tokens=len(test),
        base=perplexity(-test.base),
        alone={bank: compared(alone([part[bank] for part in scores])) for bank in banks},
        attached=compared(attached),
        shares=dict(zip(banks, shares, strict=True)),
        average=None if means is None else compared(alone(means)),
        fused=compared(loss),
        gain=compared(loss, attached),
        apart=apart,
    )


def _logs(memory: Memory, rows: HeldOutRows) -> Logs:
    logs = memory.scores(rows)
    if logs is None:
        raise BankError(f"The memory {memory.info.name} is scored by a pass of its model alone and cannot be fused.")
    return logs


def _mixed(rows: HeldOutRows, logs: Sequence[Logs], shares: Sequence[float]) -> Logs:
    """The loss of each row in nats, [n], under the mixture of the model with memories at these ``shares``."""
    return shares_nll([rows.base, *logs], [max(0.0, 1.0 - sum(shares)), *shares])


def shown(one: FusedMemory, path: str) -> str:
    """As lines for a person."""

    def line(words: str, compared: Comparison | None, note: str = "") -> str:
        if compared is None:
            return f"  {words:<34} not made: {note}"
        ppl, ratio = compared.perplexity, compared.ratio
        return (
            f"  {words:<34} {ppl.value:9.3f}   x {ratio.value:.4f} of the model ({ratio.low:.4f} to {ratio.high:.4f})"
        )

    shares = " + ".join(f"{share:.2f}" for share in one.shares.values())
    gain = one.gain.ratio
    verdict = "better than" if gain.high < 1 else "worse than" if gain.low > 1 else "no different from"
    return "\n".join(
        [
            f"{path}: perplexity with the memory {one.memory} on {one.tokens:,} held-out tokens of {one.documents:,} "
            "documents that no bank has stored",
            f"  {'the model alone':<34} {one.base:9.3f}",
            *(line(f"that of {bank}", compared) for bank, compared in one.alone.items()),
            line(f"all attached, weights {shares}", one.attached),
            line("their weights averaged", one.average, one.apart),
            line("one trained on all", one.fused),
            f"  one trained on all is {verdict} all attached: "
            f"x {gain.value:.4f} (95 % {gain.low:.4f} to {gain.high:.4f})",
        ]
    )
