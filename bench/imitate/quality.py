"""How good students are: base, kNN-LM, the MLP memory, the same network by cross-entropy alone, the Memory Decoder.

All on held-out documents of two corpora (`bench.imitate.corpora`), each mixed with the weight that is best on
validation text, then frozen. Students of three seeds are trained with the same budget; their losses go into one
comparison, whose intervals resample documents. A finished student stays in the cache under a hash of its settings.

Expected on machine B of LOG.md (2 cores of an Intel Xeon): gain_recovered 1.073 (95 % 1.044 to 1.106; 288 held-out
documents, three seeds), vs_cross_entropy 1.83 % on documentation (1.41 to 2.25) and 1.85 % on WikiText (1.44 to 2.31).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.imitate.corpora import CORPORA, FOLDER, PARTS, Corpus, HeldOut, build_corpus
from bench.report import Row, main, tell
from mnemic.ids import hash_parts
from mnemic.memories.decoder import MemoryDecoder
from mnemic.memories.mlp import MLPMemory
from mnemic.memories.texts import decoder_log_probs
from mnemic.mixture import best_weight, mixture_nll, perplexity
from operators.imitate import Decode, Imitate
from pipelines.evaluate.bootstrap import bootstrap
from pipelines.evaluate.gain import by_frequency, recovered
from pipelines.steps.training_rows import training_rows

SEEDS = (0, 1, 2)
Losses = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Student:
    """A trained memory as bytes, and the metrics of its training."""

    weights: bytes
    metrics: dict[str, float]


def quality_rows(quick: bool) -> list[Row]:
    rows: list[Row] = []
    better: list[tuple[str, float, str]] = []
    for name in CORPORA[:1] if quick else CORPORA:
        corpus = build_corpus(name, quick)
        tell(
            f"\n{name}: {corpus.documents} documents, {len(corpus.rows.token):,} rows, corpus {corpus.digest}, "
            f"temperature {corpus.temperature:.3g}"
        )
        losses = measured(corpus, SEEDS[:1] if quick else SEEDS, quick)
        rows += [row for part in losses for row in of_part(corpus, part, losses[part])]
        ratio, low, high = against_cross_entropy(corpus, losses)
        better.append((name, 100 * (1 - ratio), f"{name}: x {ratio:.4f} (95 % {low:.4f} to {high:.4f})"))
    worst = min(better, key=lambda one: one[1])
    metric = f"less perplexity than the same network by cross-entropy: {'; '.join(one[2] for one in better)}"
    rows.append(Row("vs_cross_entropy", metric, worst[1], "%", None if quick else 0.0, 3.0))
    return rows


def measured(corpus: Corpus, seeds: tuple[int, ...], quick: bool = False) -> dict[str, dict[str, Losses]]:
    """Of each part the losses by name: [tokens] of the base and kNN-LM, [seeds, tokens] of the students."""
    validation = corpus.held_out["validation"]
    weight, _ = best_weight(validation.base, validation.retriever)
    losses: dict[str, dict[str, Losses]] = {}
    for part in PARTS:
        if part in corpus.held_out:
            one = corpus.held_out[part]
            losses[part] = {
                "base": mixture_nll(one.base, one.retriever, 0.0),
                "kNN-LM": mixture_nll(one.base, one.retriever, weight),
            }
    tell(f"kNN-LM: weight {weight}")
    for name, settings in students(corpus, quick):
        every: dict[str, list[Losses]] = {part: [] for part in losses}
        for seed in seeds if name != "Memory Decoder" else seeds[:1]:
            student = trained(corpus, replace(settings, seed=seed))
            log_probs = _decoder(corpus, student, settings) if isinstance(settings, Decode) else _mlp(student)
            weight, score = best_weight(validation.base, log_probs(validation))
            cost = "  ".join(f"{key} {value:.4g}" for key, value in student.metrics.items())
            tell(f"{name}, seed {seed}: weight {weight}, validation perplexity {score:.3f}; {cost}")
            for part, of_seeds in every.items():
                one = corpus.held_out[part]
                of_seeds.append(mixture_nll(one.base, log_probs(one), weight))
        for part, of_seeds in every.items():
            losses[part][name] = np.stack(of_seeds)
    return losses


def students(corpus: Corpus, quick: bool) -> Iterator[tuple[str, Imitate | Decode]]:
    """Students by name, with their settings. The second has the first's network and budget; of the third one seed.

    In a quick run there is no third, which takes as long as both.
    """
    settings, decoder = corpus.recipe.imitate, corpus.recipe.decoder
    yield "MLP memory", settings
    yield "cross-entropy", replace(settings, alpha=0.0)
    if decoder is not None and not quick:
        yield "Memory Decoder", decoder


def trained(corpus: Corpus, settings: Imitate | Decode) -> Student:
    """The best epoch of a training, from the cache where it was done before."""
    identity = {key: value for key, value in asdict(settings).items() if key != "model"}
    key = hash_parts(
        "student", json.dumps(identity, sort_keys=True), settings.version, corpus.digest, str(corpus.temperature)
    )
    file = FOLDER / "students" / f"{corpus.name}-{key}"
    if not file.with_suffix(".json").exists():
        started = time.perf_counter()
        version = corpus.store["datastore"].require().version
        rows, _ = training_rows(corpus.store, version, settings, "cpu")
        epochs = list(settings.train(rows, None, "cpu", lambda done, total: None))
        seconds = time.perf_counter() - started
        best = min(epochs, key=lambda one: one.metrics["validation_perplexity"])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".safetensors").write_bytes(best.weights)
        metrics = {"epoch": best.epoch, "epochs": len(epochs), "seconds": seconds, **best.metrics}
        file.with_suffix(".json").write_text(json.dumps(metrics))
    return Student(file.with_suffix(".safetensors").read_bytes(), json.loads(file.with_suffix(".json").read_text()))


def _mlp(student: Student) -> Callable[[HeldOut], Losses]:
    memory = MLPMemory.from_bytes(student.weights)

    def log_probs(part: HeldOut) -> Losses:
        with torch.inference_mode():
            values: Any = memory.token_log_prob(torch.from_numpy(part.input), torch.from_numpy(part.token).long())
        return values.double().numpy()  # type: ignore[no-any-return]

    return log_probs


def _decoder(corpus: Corpus, student: Student, settings: Decode) -> Callable[[HeldOut], Losses]:
    memory = MemoryDecoder.from_bytes(student.weights)

    def log_probs(part: HeldOut) -> Losses:
        values = decoder_log_probs(
            memory, corpus.texts(part), settings.window, settings.stride, half=settings.half("cpu")
        )
        return values.astype(np.float64)

    return log_probs


def of_part(corpus: Corpus, part: str, losses: dict[str, Losses]) -> list[Row]:
    """Perplexities, shares of kNN-LM's gain, and losses by frequency, which are printed beside the table."""
    one = corpus.held_out[part]
    place = f"{corpus.name}, {part.removeprefix('test-')}s held out: {len(set(one.document))} documents"
    rows = []
    for name, loss in losses.items():
        compared = bootstrap(pooled(losses["base"], loss), loss.reshape(-1), owners(one, loss))
        metric = (
            f"{name}; times base {compared.ratio.value:.3f} ({compared.ratio.low:.3f} to {compared.ratio.high:.3f})"
        )
        rows.append(
            Row(_id("perplexity", corpus, part, name), f"{metric}; {place}", perplexity(loss), "", None, None, False)
        )
    for name, loss in losses.items():
        if name in ("base", "kNN-LM"):
            continue
        share = recovered(
            pooled(losses["base"], loss), pooled(losses["kNN-LM"], loss), loss.reshape(-1), owners(one, loss)
        )
        main = name == "MLP memory" and corpus.name == "documentation" and part == "test-document"
        rows.append(
            Row(
                "gain_recovered" if main else _id("recovered", corpus, part, name),
                f"{name}, of kNN-LM's gain, 95 % {share.low:.3f} to {share.high:.3f}; {place}",
                share.value,
                "",
                0.80 if main else None,
                1.00 if main else None,
            )
        )
    means = {name: loss if loss.ndim == 1 else loss.mean(0) for name, loss in losses.items()}
    tell(f"\n{place}, nats a token by how often the store has it")
    buckets = by_frequency(one.token, corpus.rows.token, means)
    tell(f"  {'':<16}" + "".join(f"{bucket.least:>9}+" for bucket in buckets))
    tell(f"  {'tokens':<16}" + "".join(f"{bucket.tokens:>10,}" for bucket in buckets))
    for name in means:
        tell(f"  {name:<16}" + "".join(f"{bucket.losses[name]:>10.3f}" for bucket in buckets))
    return rows


def against_cross_entropy(corpus: Corpus, losses: dict[str, dict[str, Losses]]) -> tuple[float, float, float]:
    """Perplexity of the memory's mixture over that of its control, all held-out tokens, and its interval."""
    ours = np.concatenate([losses[part]["MLP memory"] for part in losses], axis=1)
    control = np.concatenate([losses[part]["cross-entropy"] for part in losses], axis=1)
    document = np.concatenate([corpus.held_out[part].document for part in losses])
    ratio = bootstrap(control.reshape(-1), ours.reshape(-1), np.tile(document, len(ours))).ratio
    return ratio.value, ratio.low, ratio.high


def pooled(one: Losses, like: Losses) -> Losses:
    """``one`` as often as ``like`` has seeds."""
    return np.broadcast_to(one, like.shape).reshape(-1)


def owners(part: HeldOut, like: Losses) -> npt.NDArray[np.object_]:
    """Documents of the losses ``like`` of a part, one for each of its tokens and seeds."""
    return np.broadcast_to(part.document, like.shape).reshape(-1)


def _id(what: str, corpus: Corpus, part: str, name: str) -> str:
    return f"{what}_{corpus.name}_{part.removeprefix('test-')}_{name.lower().replace(' ', '_').replace('-', '_')}"


if __name__ == "__main__":
    sys.exit(main("imitate.quality", __doc__ or "", quality_rows))
