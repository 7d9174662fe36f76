"""Embedding against sentence-transformers with its defaults, and against what its forward pass alone would take.

The texts are docstrings of the installed packages: half of the tokens are passages (whole docstrings, cut at 256 tokens
by the model), half are sentences of others, in a drawn order. Both libraries run the same model with the same threads
in the same process, one after the other, several times over; a ratio is the median over those pairs.
sentence-transformers computes in float32, ours also in bfloat16 where the processor has it.

`embed_overhead` is timed inside the operator, on Arrow batches of 8,192 rows: the share of its seconds that is not
spent in the model's forward pass (tokenising, packing, pooling, float16, Arrow). The limit of a forward pass is its
matrix products: the same ones, on one stream that stays in the cache.

Expected on machine A of LOG.md (2 cores of an AMD EPYC with bfloat16; 6.5 minutes): embed_speedup 3.63, in float32
2.05; embed_cosine 0.9999; embed_tokens 11,400 tokens/s against 3,140; embed_overhead 0.021.
"""

from __future__ import annotations

import random
import statistics
import sysconfig
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from bench.report import Row, main, paired, peer_library, timed
from mnemic.encoder import TextEncoder
from mnemic.hardware import has_bfloat16
from mnemic.models import locate
from operators.embed import Embed
from operators.sentences import Sentences
from pipelines.sources.docstrings import UnreadableCode, docstrings

PACKAGES = ("numpy", "pyarrow", "torch/nn", "torch/optim", "pydantic", "lance", "transformers/models")
Vectors = npt.NDArray[np.float32]


def mixed_texts(encoder: TextEncoder, tokens: int) -> list[str]:
    """Docstrings and sentences of docstrings, ``tokens`` tokens in all as the model reads them, half of each."""
    root = Path(sysconfig.get_paths()["purelib"])
    files = sorted(file for package in PACKAGES for file in (root / package).rglob("*.py"))
    draw = random.Random(0)
    draw.shuffle(files)
    distinct: dict[str, None] = {}
    for file in files[:1200]:
        try:
            distinct.update(dict.fromkeys(text for _, text in docstrings(file.read_bytes())))
        except UnreadableCode:
            continue
    passages = list(distinct)
    draw.shuffle(passages)
    cut = Sentences().ranges
    sentences = [text[start:end] for text in passages[1::2] for start, end in cut(text)]
    draw.shuffle(sentences)
    chosen: list[str] = []
    for texts in (passages[::2], sentences):
        ends = np.cumsum(encoder.tokenizer(texts).counts)
        chosen += texts[: int(np.searchsorted(ends, tokens / 2)) + 1]
    draw.shuffle(chosen)
    return chosen


def overhead(operator: Embed, texts: list[str]) -> tuple[float, float]:
    """Share of the operator's seconds outside of the forward pass, and the share of its tokens that are padding."""
    encoder = TextEncoder.load(operator.model, operator.dtype, "cpu")
    worker = operator.encoding(encoder)
    body: Any = encoder.body
    forward, inside, computed = body.forward, [0.0], [0]

    def clocked(stream: Any) -> Any:
        started = time.perf_counter()
        states = forward(stream)
        inside[0] += time.perf_counter() - started
        computed[0] += len(stream.ids)
        return states

    body.forward = clocked
    batches = pa.table({"text": pa.array(texts, pa.large_string())}).to_batches(max_chunksize=8192)
    worker(batches[0].slice(0, 64))
    inside[0], computed[0] = 0.0, 0
    stage = timed(lambda: [worker(batch) for batch in batches])
    read = int(encoder.tokenizer(sorted(set(texts))).counts.sum())
    return 1 - inside[0] / stage, 1 - read / computed[0]


def products_share(encoder: TextEncoder, texts: list[str]) -> float:
    """Seconds of the bare matrix products of the linear layers, over those of the forward pass of the same streams."""
    body: Any = encoder.body
    streams = list(body.streams(encoder.tokenizer(texts)))[:8]
    wide = torch.zeros(len(streams[0].ids), body.dimension, dtype=body.words.dtype).normal_()

    def products() -> None:
        for _ in streams:
            for layer in body.layers:
                layer.projection(wide)
                layer.output(wide)
                layer.down(layer.up(wide))

    with torch.inference_mode():
        _, _, share = paired(
            lambda: timed(lambda: [body.forward(stream) for stream in streams]), lambda: timed(products), 5
        )
    return share


def measure(quick: bool) -> list[Row]:
    names = ["bfloat16", "float32"] if has_bfloat16() else ["float32"]
    ours = {name: TextEncoder.load(Embed.model, name, "cpu") for name in names}
    library = peer_library("sentence_transformers")
    against = f"sentence-transformers {library.__version__}, encode with its defaults"
    reference = library.SentenceTransformer(str(locate(Embed.model)), device="cpu")
    texts = mixed_texts(ours[names[0]], 16_000 if quick else 80_000)
    counts = ours[names[0]].tokenizer(texts).counts
    total, pairs = int(counts.sum()), 3 if quick else 5
    print(f"{len(texts):,} texts, {total:,} tokens, median {int(np.median(counts))}, {torch.get_num_threads()} threads")
    for encode in (reference.encode, *(encoder.encode for encoder in ours.values())):
        encode(texts[:32])

    theirs: list[Vectors] = []
    times: dict[str, list[float]] = {name: [] for name in ("peer", *names)}
    vectors: dict[str, Vectors] = {}
    for _ in range(pairs):
        times["peer"].append(timed(lambda: theirs.append(reference.encode(texts))))
        for name in names:
            times[name].append(timed(lambda name=name: vectors.update({name: ours[name].encode(texts)})))  # type: ignore[misc]
    rows: list[Row] = []
    for name in names:
        ratios = [a / b for a, b in zip(times["peer"], times[name], strict=True)]
        cosines = (vectors[name] * theirs[0]).sum(1)
        best = name == names[0]
        suffix = "" if name == "bfloat16" else "_fp32"
        must, goal = (2.0, 3.0) if name == "bfloat16" else (None, None)
        rate = total / statistics.median(times[name])
        rows += [
            Row(f"embed_speedup{suffix}", f"speed, {name}", statistics.median(ratios), "x", must, goal, peer=against),
            Row(
                f"embed_cosine{suffix}",
                "least cosine to its vectors",
                float(cosines.min()),
                "",
                0.999,
                peer=against,
            ),
            Row(f"embed_cosine_mean{suffix}", "mean cosine to its vectors", float(cosines.mean()), "", peer=against),
            Row(f"embed_tokens{suffix}", f"tokens a second, {name}", rate, "tokens/s"),
        ]
        if best:
            shares = [overhead(Embed(dtype=name), texts) for _ in range(pairs)]
            share = statistics.median(share for share, _ in shares)
            rows += [
                Row("embed_overhead", "outside the forward pass", share, "share", 0.10, 0.04, higher_is_better=False),
                Row("embed_padding", "padding among the tokens", shares[0][1], "share", higher_is_better=False),
            ]
        limit = products_share(ours[name], texts)
        rows.append(Row(f"embed_products{suffix}", "bare matrix products / forward pass", limit, "share"))
    rows.append(
        Row(
            "embed_tokens_peer",
            "tokens a second",
            total / statistics.median(times["peer"]),
            "tokens/s",
            peer=against,
        )
    )
    question = "how do I tag a version of a dataset?"
    waits = [timed(lambda: ours[names[0]].encode_queries([question])) for _ in range(60)]
    rows.append(Row("embed_query", f"one question, {names[0]}, median", statistics.median(waits) * 1e3, "ms"))
    return rows


if __name__ == "__main__":
    raise SystemExit(main("embed", __doc__ or "", measure))
