"""A text of a bank, continued by its language model alone and with a memory: what a memory does, to be seen.

The text is one that the memory holds: of the texts of the store that are prose, the one that surprises the model alone
most. So the difference is that between knowing a text and not knowing it, and no measure of quality; `eval` has those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mnemic.bank import Bank
from mnemic.errors import BankError
from mnemic.kept import KEPT
from mnemic.quoting import one_of
from mnemic.splits import STORE
from mnemic.suffixes.stored import has_suffixes
from mnemic.terminal import one_line

PROMPT, CONTINUED = 24, 24
"""Tokens that the model is given, and that it is to say."""

LOOKED_AT = 64
"""Documents that are looked at for one that is prose, the most surprising first."""

LEAST_LETTERS = 0.75


@dataclass(frozen=True)
class Continuation:
    """A text from ``locator`` after ``prompt``: as it stands there, as the model goes on alone, and with ``memory``.

    ``hits`` are the tokens that are those of the text, alone and with the memory, of ``tokens``.
    """

    locator: str
    memory: str
    prompt: str
    text: str
    alone: str
    remembered: str
    hits: tuple[int, int]
    tokens: int


def continued(bank: Bank, model: Any = None, tokenizer: Any = None) -> Continuation | None:
    """A text of the store continued with and without memory; None where no text of it is long enough.

    Loads the model of the recipe where none is handed over. Raises ``BankError`` for a bank without a datastore.
    """
    import torch

    from mnemic import languagemodel

    if "datastore" not in bank.view:
        raise BankError(f"{bank.path} holds no memory for a language model; name a `language_model` in its recipe.")
    if model is None:
        model, tokenizer = languagemodel.load(str(bank.release.recipe["language_model"]))
    encoded = (
        (locator, tokenizer(text[:2000], return_tensors="pt")["input_ids"][:, : PROMPT + CONTINUED])
        for locator, text in _surprising(bank)
    )
    locator, ids = next((one for one in encoded if one[1].shape[1] == PROMPT + CONTINUED), ("", None))
    if ids is None:
        return None
    memory = "suffix" if has_suffixes(bank.view) else "knn"
    prompt, rest = ids[:, :PROMPT], ids[0, PROMPT:]
    settings: dict[str, Any] = {"max_new_tokens": CONTINUED, "do_sample": False, "pad_token_id": 0}

    def generated() -> Any:
        with torch.inference_mode():
            output = model.generate(prompt, attention_mask=torch.ones_like(prompt), **settings)
        return output[0, PROMPT:]

    alone = generated()
    with bank.attached(model, memory, tokenizer=tokenizer):
        remembered = generated()
    hits = tuple(int((one == rest[: len(one)]).sum()) for one in (alone, remembered))
    begins, text, without, with_it = (
        tokenizer.decode(one, skip_special_tokens=True) for one in (prompt[0], rest, alone, remembered)
    )
    return Continuation(locator, memory, begins, text, without, with_it, (hits[0], hits[1]), CONTINUED)


def _surprising(bank: Bank) -> list[tuple[str, str]]:
    """(locator, text) of prose in the store, what the model alone expects least first."""
    losses = _losses(bank)
    ids = [document for document, _ in sorted(losses.items(), key=lambda one: (-one[1], one[0]))[:LOOKED_AT]]
    if not ids:
        return []
    where = f"({KEPT}) AND {one_of('id', ids)}"
    rows = {row["id"]: row for row in bank.view.table("documents", ["id", "locator", "text"], where).to_pylist()}
    return [(rows[one]["locator"], rows[one]["text"]) for one in ids if one in rows and _is_prose(rows[one]["text"])]


def _losses(bank: Bank) -> dict[str, float]:
    """Document of the store -> mean loss of the model alone on its first tokens, in nats."""
    sums: dict[str, list[float]] = {}
    columns, where = ["document", "base_logprob"], f"{STORE} AND position < {PROMPT + CONTINUED}"
    for batch in bank.view.dataset("datastore").scan(columns, where, batch_size=65536):
        grouped = pa.table(batch).group_by("document").aggregate([("base_logprob", "sum"), ("base_logprob", "count")])
        for row in grouped.to_pylist():
            summed = sums.setdefault(row["document"], [0.0, 0.0])
            summed[0] -= row["base_logprob_sum"]
            summed[1] += row["base_logprob_count"]
    return {document: total / count for document, (total, count) in sums.items() if count >= PROMPT}


def _is_prose(text: str) -> bool:
    head = text[:400]
    letters = sum(letter.isalpha() or letter == " " for letter in head)
    return letters >= LEAST_LETTERS * len(head)


def shown(one: Continuation) -> str:
    """A continuation as lines for a person."""
    memory = {"suffix": "the suffix index", "knn": "kNN-LM"}.get(one.memory, one.memory)
    lines = [
        f"a text that the memory holds, {one_line(one.locator, 100)}, continued by the language model:",
        "",
        f"  {'begins':<26} {one_line(one.prompt, 300)}",
        f"  {'goes on there':<26} {one_line(one.text, 300)}",
        f"  {f'alone, {one.hits[0]} of {one.tokens} tokens':<26} {one_line(one.alone, 300)}",
        f"  {f'with it, {one.hits[1]} of {one.tokens}':<26} {one_line(one.remembered, 300)}",
        "",
        f"The memory is {memory}. Chosen: of the prose in the store the text that the model alone expects least.",
    ]
    return "\n".join(lines)
