"""Boundary refinement against its definition: vectorised numpy, EM-LLM's own form, and a bare matrix product.

Chunks are 512 float32 keys drawn around the means of random events; candidates are drawn at random. Peers are given the
matrix A of the chunk ready made (float64, so that their boundaries are the same as ours), where ours starts from the
keys. Times are CPU seconds on one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from bench.report import Row, paired
from mnemic.arrays import AnyVectors, Flags
from operators.segment.refine import curves, refine, split_sums

TOKENS = 512
GAPS = (16, 32, 64, 128)
Objective = Callable[[int], float]


def refine_rows(quick: bool) -> list[Row]:
    """Speed against numpy, the published code and a product; tokens a second; errors of the curves."""
    chunks, pairs = (1, 3) if quick else (3, 5)
    by_gap = [_Chunks(gap, 128, chunks) for gap in GAPS]
    with _one_thread():
        return [
            *_speedup(
                "refine_speedup", "vectorised numpy per candidate", by_gap, pairs, numpy_refine, must=50, goal=150
            ),
            *_speedup(
                "refine_published", "EM-LLM's modularity", by_gap, pairs, published_refine, exclude_candidate=True
            ),
            *_speedup(
                "refine_published_conductance",
                "EM-LLM's conductance",
                by_gap,
                pairs,
                partial(published_refine, objective="conductance"),
                objective="conductance",
                volume="within",
                exclude_candidate=True,
            ),
            *[_rate_row(dimension, quick) for dimension in (128, 1024, 12288)],
            _product_row(pairs),
            _difference_row(by_gap),
        ]


class _Chunks:
    """Some chunks of keys with candidates a mean of ``gap`` tokens apart, and the matrices that peers are given."""

    def __init__(self, gap: int, dimension: int, count: int) -> None:
        generator = np.random.default_rng(gap)
        self.gap = gap
        self.keys = [_keys(generator, gap, dimension) for _ in range(count)]
        self.cuts = [_cuts(generator, gap) for _ in range(count)]

    def matrices(self) -> list[npt.NDArray[np.float64]]:
        wide = [keys.astype(np.float64) for keys in self.keys]
        return [keys @ keys.T for keys in wide]

    def refined(self, **options: object) -> list[Flags]:
        ends = np.zeros(TOKENS - 1, np.bool_)
        return [refine(keys, cuts, ends, **options) for keys, cuts in zip(self.keys, self.cuts, strict=True)]  # type: ignore[arg-type]


def _keys(generator: np.random.Generator, gap: int, dimension: int) -> npt.NDArray[np.float32]:
    event = np.cumsum(generator.random(TOKENS) < 1 / gap)
    means = generator.standard_normal((event[-1] + 1, dimension)) + generator.standard_normal(dimension)
    return (means[event] + 2 * generator.standard_normal((TOKENS, dimension))).astype(np.float32)


def _cuts(generator: np.random.Generator, gap: int) -> Flags:
    cuts = np.zeros(TOKENS - 1, np.bool_)
    cuts[generator.choice(TOKENS - 1, TOKENS // gap - 1, replace=False)] = True
    return cuts


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _speedup(
    name: str,
    peer: str,
    by_gap: list[_Chunks],
    pairs: int,
    theirs: Callable[[npt.NDArray[np.float64], Flags], Flags],
    must: float | None = None,
    goal: float | None = None,
    **options: object,
) -> list[Row]:
    """A row for each mean gap, and before them the row of the smallest ratio."""
    rows = []
    for chunks in by_gap:
        inputs = list(zip(chunks.matrices(), chunks.cuts, strict=True))
        expected = [theirs(matrix, cuts) for matrix, cuts in inputs]
        if not np.array_equal(chunks.refined(**options), expected):
            raise SystemExit(f"{name}: our boundaries are not those of {peer}, mean gap {chunks.gap}")
        ours = partial(_seconds, partial(chunks.refined, **options), 20)
        ours_s, peer_s, ratio = paired(ours, partial(_seconds, partial(_each, theirs, inputs), 1), pairs)
        times = f"{ours_s / len(inputs) * 1e6:.0f} us against {peer_s / len(inputs) * 1e3:.1f} ms a chunk"
        rows.append(Row(f"{name}_{chunks.gap}", f"mean gap {chunks.gap}, d = 128: {times}", ratio, "x", peer=peer))
    smallest = min(rows, key=lambda row: row.value)
    return [Row(name, f"least of the gaps, {smallest.metric}", smallest.value, "x", must, goal, peer=peer), *rows]


def _each(
    refiner: Callable[[npt.NDArray[np.float64], Flags], Flags], inputs: list[tuple[npt.NDArray[np.float64], Flags]]
) -> list[Flags]:
    return [refiner(matrix, cuts) for matrix, cuts in inputs]


def _seconds(work: Callable[[], object], times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - started) / times


def numpy_refine(matrix: npt.NDArray[np.float64], cuts: Flags) -> Flags:
    """Algorithm 1 of the paper by equation 3 as it stands, each candidate vectorised over the window's matrix."""

    def modularity(window: npt.NDArray[np.float64], split: int) -> float:
        degrees = window.sum(axis=0)
        total = degrees.sum()
        surplus = window - np.outer(degrees, degrees) / total
        return float((surplus[:split, :split].sum() + surplus[split:, split:].sum()) / total)

    return _refined(cuts, lambda start, end: partial(modularity, matrix[start:end, start:end]), excluded=0)


def published_refine(matrix: npt.NDArray[np.float64], cuts: Flags, objective: str = "modularity") -> Flags:
    """Refinement by EM-LLM's code (em-llm/EM-LLM-model, MIT): torch, blocks as lists of indices, no candidate."""
    score = {"modularity": _published_modularity, "conductance": _published_conductance}[objective]
    whole = torch.from_numpy(matrix)

    def objective_of(start: int, end: int) -> Objective:
        window = torch.clone(whole[start:end, :][:, start:end])
        return lambda split: score(window, [list(range(split)), list(range(split, len(window)))])

    return _refined(cuts, objective_of, excluded=1)


def _published_modularity(window: torch.Tensor, blocks: list[list[int]]) -> float:
    total = window.sum()
    expected = torch.einsum("i,j->ij", window.sum(dim=0), window.sum(dim=1)) / total
    quality = sum((window[block][:, block] - expected[block][:, block]).sum() for block in blocks)
    return float(quality / (2 * total))


def _published_conductance(window: torch.Tensor, blocks: list[list[int]]) -> float:
    """Negated, so that higher is better."""
    values, total = [], window.sum()
    for block in blocks:
        others = [i for i in range(len(window)) if i not in block]
        inside = window[block][:, block].sum()
        values.append(window[block][:, others].sum() / torch.minimum(inside, total - inside))
    return -float(torch.stack(values).min())


def _refined(cuts: Flags, objective_of: Callable[[int, int], Objective], excluded: int) -> Flags:
    """Algorithm 1, candidate by candidate; ``objective_of`` makes the objective of the splits of a window."""
    refined = np.zeros_like(cuts)
    boundary = 0
    for candidate in (np.flatnonzero(cuts) + 1).tolist():
        half = (candidate - boundary) // 2
        start, end = max(0, boundary - half), min(len(cuts) + 1, candidate + half)
        splits = range(boundary + 1, candidate + 1 - excluded)
        boundary = candidate
        if len(splits) > 1 - excluded:
            objective = objective_of(start, end)
            boundary = splits[int(np.argmax([objective(split - start) for split in splits]))]
        refined[boundary - 1] = True
    return refined


def _rate_row(dimension: int, quick: bool) -> Row:
    """Tokens refined in a second at the slowest of the gaps."""
    least = np.inf
    for gap in GAPS:
        chunks = _Chunks(gap, dimension, 1)
        chunks.refined()
        seconds = min(_seconds(chunks.refined, 2 if dimension > 10_000 else 50) for _ in range(3 if quick else 9))
        least = min(least, TOKENS / seconds)
    metric = f"modularity, d = {dimension}, slowest of the gaps"
    if dimension == 128:
        return Row("refine_rate", metric, least, "tokens/s", goal=150_000)
    return Row(f"refine_rate_{dimension}", metric, least, "tokens/s")


def _product_row(pairs: int) -> Row:
    """How much longer a bare product takes to form A than a walk for the sums of all splits: least over T and d."""
    ratios = {}
    for dimension in (1024, 12288):
        for units in (4, 8, 16, 32, 64):
            window = _keys(np.random.default_rng(units), 16, dimension)[:units]
            ratios[units, dimension] = _product_ratio(window, pairs)
    units, dimension = min(ratios, key=lambda key: ratios[key])
    metric = f"float64 GEMM that forms A over the sums of all splits, least of T and d: T = {units}, d = {dimension}"
    return Row("refine_product", metric, ratios[units, dimension], "x", peer="torch float64 GEMM")


def _product_ratio(window: AnyVectors, pairs: int) -> float:
    keys = torch.from_numpy(window)

    def product() -> torch.Tensor:
        wide = keys.double()
        return wide @ wide.T

    def sums() -> object:
        return split_sums(window, 0, 1, len(window) - 1, len(window))

    sums()
    return paired(partial(_seconds, sums, 100), partial(_seconds, product, 100), pairs)[2]


def _difference_row(by_gap: list[_Chunks]) -> Row:
    """The largest difference of a curve from its definition, in parts of its largest value (T = 32 to 256)."""
    largest = 0.0
    for chunks in by_gap:
        size = 2 * chunks.gap
        for keys, matrix in zip(chunks.keys, chunks.matrices(), strict=True):
            expected = np.array([_definitions(matrix[:size, :size], split) for split in range(1, size)]).T
            differences = np.abs(np.array(curves(keys[:size])) - expected).max(axis=1)
            largest = max(largest, float((differences / np.abs(expected).max(axis=1)).max()))
    metric = "curves from their definition, largest, in parts of the curve"
    return Row("refine_difference", metric, largest, "", 1e-9, higher_is_better=False)


def _definitions(window: npt.NDArray[np.float64], split: int) -> tuple[float, float, float]:
    """Modularity, conductance and similarity of a split by block sums of the window's matrix."""
    blocks = window[:split, :split], window[split:, split:], window[:split, split:]
    first, second, cut = (float(block.sum()) for block in blocks)
    volumes, total = (first + cut, second + cut), float(window.sum())
    modularity = (first + second) / total - sum((volume / total) ** 2 for volume in volumes)
    similarity = float((blocks[0].mean() + blocks[1].mean()) / 2 / blocks[2].mean())
    return modularity, cut / min(volumes), similarity
