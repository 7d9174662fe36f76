"""What the model says of facts and of their neighbours: alone, with the edits, and with the fact as text before.

Every prompt is asked in all three ways, so no number of an edit stands without that of the text in context.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemic.ids import hash_parts
from mnemic.rewrites.datasets import CONTROL, NEIGHBOUR, PARAPHRASE, PROMPT, WAYS
from mnemic.rewrites.paths import SidePath
from mnemic.rewrites.prompts import BATCH, AskedPrompt, batches, prompt_of
from mnemic.rewrites.reading import hidden_of
from mnemic.rewrites.solving import beside
from mnemic.rewrites.statement import PLACE, Statement, guarded

if TYPE_CHECKING:
    import torch

LogProbs = Callable[[Any], Any]
"""Normed states [n, hidden] -> log-probabilities of the next token, float32 [n, vocabulary]."""

_CONTROL_TOKENS = 512


@dataclass(frozen=True)
class Probe:
    """A prompt of a ``kind``, as it is asked alone and behind a fact as text; ``tenant`` as its facts have it."""

    kind: str
    statement: str
    documents: tuple[str, ...]
    text: str
    alone: AskedPrompt
    behind: AskedPrompt
    tenant: str | None = None

    @property
    def id(self) -> str:
        whose = () if self.tenant is None else (self.tenant,)
        return hash_parts("probe", self.kind, self.statement, self.text, *whose)


def probes_of(
    tokenizer: Any, statements: Sequence[Statement], share: float, controls: Mapping[str, str]
) -> list[Probe]:
    """Prompts and paraphrases of ``statements``, neighbours that are not guarded, and ``controls`` (id -> text).

    The statements are of one solve, and so of one tenant.
    """
    probes = []
    for one in statements:
        before = one.before
        for kind, relation in ((PROMPT, one.relation), *((PARAPHRASE, each) for each in one.paraphrases)):
            alone = prompt_of(tokenizer, relation, one.subject, one.target)
            behind = prompt_of(tokenizer, relation, one.subject, one.target, before=before)
            text = relation.replace(PLACE, one.subject)
            probes.append(Probe(kind, one.id, one.documents, text, alone, behind))
    everyone = tuple(sorted({document for one in statements for document in one.documents}))
    texts: dict[tuple[str, str], str] = {}
    for one in statements:
        for neighbour in one.neighbours:
            texts.setdefault((one.relation, neighbour), one.before)
    for relation, subject in guarded(statements, share)[1]:
        alone = prompt_of(tokenizer, relation, subject)
        behind = prompt_of(tokenizer, relation, subject, before=texts[relation, subject])
        probes.append(Probe(NEIGHBOUR, "", everyone, relation.replace(PLACE, subject), alone, behind))
    if statements:
        before = statements[0].before
        for of, text in sorted(controls.items()):
            alone, behind = (_beginning(tokenizer, head, text) for head in ("", before))
            probes.append(Probe(CONTROL, "", (*everyone, of), of, alone, behind))
    return [replace(one, tenant=statements[0].tenant) for one in probes]


def _beginning(tokenizer: Any, before: str, text: str) -> AskedPrompt:
    """The first tokens of ``text``, of which all but the first are predicted."""
    own = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"][:_CONTROL_TOKENS]
    head = tokenizer(before, add_special_tokens=False, verbose=False)["input_ids"] if before else []
    return AskedPrompt((*head, *own), len(head), len(head) + 1)


@dataclass(frozen=True, eq=False)
class _Answer:
    nats: float
    right: bool
    choice: bool
    first: torch.Tensor  # log-probabilities of the first token that is predicted, [vocabulary]


def measured(
    model: Any, log_probs: LogProbs, probes: Sequence[Probe], paths: Sequence[SidePath], choices: Sequence[int]
) -> list[dict[str, Any]]:
    """Columns of `probes`, but for the state. ``choices`` are the first tokens of all targets."""
    rows = list[dict[str, Any]]()
    for start in range(0, len(probes), BATCH):  # so that few distributions exist at a time
        some = probes[start : start + BATCH]
        ways = [
            _answers(model, log_probs, [one.alone for one in some], (), choices),
            _answers(model, log_probs, [one.alone for one in some], paths, choices),
            _answers(model, log_probs, [one.behind for one in some], (), choices),
        ]
        rows += [_row(probe, *answers) for probe, *answers in zip(some, *ways, strict=True)]
    return rows


def _row(probe: Probe, *answers: _Answer) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": probe.id,
        "kind": probe.kind,
        "statement": probe.statement,
        "documents": sorted({*probe.documents}),
        "text": probe.text,
        "tokens": len(probe.alone.targets),
    }
    none, edited, text = answers
    stays = probe.kind == NEIGHBOUR
    for way, one in zip(WAYS, answers, strict=True):
        same = int(one.first.argmax()) == int(none.first.argmax())
        row |= {f"nats{way}": one.nats, f"right{way}": same if stays else one.right, f"choice{way}": one.choice}
    plain = none.first.exp()
    divergences = [float((plain * (none.first - one.first)).sum().clamp(min=0)) for one in (edited, text)]
    return row | dict(zip(("kl", "kl_text"), divergences, strict=True))


def _answers(
    model: Any, log_probs: LogProbs, prompts: Sequence[AskedPrompt], paths: Sequence[SidePath], choices: Sequence[int]
) -> list[_Answer]:
    import torch

    answers: list[_Answer] = []
    candidates = torch.tensor(sorted({*choices}), dtype=torch.int64)
    with torch.inference_mode(), beside(model, paths):
        for some, ids, mask in batches(prompts):
            hidden = hidden_of(model, ids, mask)
            for row, one in enumerate(prompts[place] for place in some):
                logs = log_probs(hidden[row, one.begin - 1 : max(one.begin, len(one.ids) - 1)]).cpu()
                targets = torch.tensor(one.targets, dtype=torch.int64)
                if not len(targets):
                    answers.append(_Answer(0.0, False, False, logs[0].double()))
                    continue
                nats = -logs.gather(1, targets[:, None]).double().mean()
                right = bool((logs.argmax(1) == targets).all())
                best = len(candidates) > 0 and int(candidates[logs[0, candidates].argmax()]) == int(targets[0])
                answers.append(_Answer(float(nats), right, best, logs[0].double()))
    return answers


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over `probes`, for the memory's metrics: of each kind alone, with the edits, and with text."""
    numbers: dict[str, float] = {}
    for kind, name in ((PROMPT, "efficacy"), (PARAPHRASE, "paraphrase"), (NEIGHBOUR, "neighbour")):
        own = [row for row in rows if row["kind"] == kind]
        numbers[f"{kind}s"] = float(len(own))
        for way in WAYS if own else ():
            numbers[f"{name}{way}"] = float(np.mean([row[f"right{way}"] for row in own]))
            if kind != NEIGHBOUR:
                numbers[f"{name}_choice{way}"] = float(np.mean([row[f"choice{way}"] for row in own]))
        if own and kind == NEIGHBOUR:
            numbers |= {one: float(np.mean([row[one] for row in own])) for one in ("kl", "kl_text")}
    controls = [row for row in rows if row["kind"] == CONTROL]
    tokens = sum(row["tokens"] for row in controls)
    for way in WAYS if tokens else ():
        nats = sum(row[f"nats{way}"] * row["tokens"] for row in controls) / tokens
        numbers[f"control_perplexity{way}"] = float(np.exp(nats))
    return numbers
