"""Cost of a memory at inference: beside the bare model when it generates, and beside kNN-LM's search.

`attach_overhead` is the time of generating with an attached MLP memory over that of the bare model: SmolLM2-135M, a
memory of four blocks of its width with a head of 10,000 tokens, greedy, 64 tokens after a prompt of 32, in interleaved
pairs. The weights of the memory are random, which time does not notice.

`memory_speed_*` compare the memory's part alone, without the model's forward pass: the MLP, its log-softmax over the
tokens of the store included, against the search of the 256 nearest of a million keys (`bench.teacher.keys`), the vote
left out. Each is compared with the fastest of its kind: faiss or our own (`mnemic.memories.knn`), exact, or inverted at
the lists that find .97 of the 64 nearest. Queries are rows of the store, one at a time and 64 at a time. The last rows
are whole steps of generation: one forward pass of the model with its cache, and the memory's part.

Expected on machine B of LOG.md (2 cores of an Intel Xeon): attach_overhead 1.088 (batch 8: 1.088),
memory_speed_vs_exact 31.7 (64 queries: 90.4), memory_speed_vs_ivf 1.02 (6.8); steps of 68 ms bare, 72 with the MLP, 165
with exact and 72 with inverted search (64 at a time: 173, 194, 998, 315).
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from bench.report import MissingPeer, Row, main, paired, peer_library, tell, timed
from bench.teacher.flat import K, inverted_file, true_neighbours
from bench.teacher.keys import MODEL, Keys, keys
from mnemic import languagemodel
from mnemic.attach import attach, detach
from mnemic.memories.knn import KNNMemory
from mnemic.memories.mlp import MemoryConfig, MLPMemory
from mnemic.neighbours.exact import ExactSearch
from mnemic.neighbours.lists import Lists

RECALL = 0.97
LAYER, PROMPT, CONTEXT = 21, 32, 256
BATCHES = (1, 64)
AUDITED = 128
"""Queries whose true neighbours set how many lists are looked at."""


def measure(quick: bool) -> list[Row]:
    torch.set_num_threads(os.cpu_count() or 1)
    rows = [*overhead_rows(quick), *memory_speed_rows(quick)]
    return [replace(row, must=None, goal=None) for row in rows] if quick else rows


def overhead_rows(quick: bool) -> list[Row]:
    """Generating with an attached MLP memory over generating without, for one prompt and for eight."""
    model, _ = languagemodel.load(MODEL)
    lock, tokens = languagemodel.lock(model), 16 if quick else 64
    memory = random_memory(torch.arange(10_000) * 4, torch.float32)
    rows = []
    for batch in (1, 8):
        prompt = torch.randint(100, 40_000, (batch, PROMPT), generator=torch.Generator().manual_seed(batch))
        options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}

        def bare(prompt: Any = prompt, options: Any = options) -> float:
            detach(model)
            return timed(lambda: model.generate(prompt, attention_mask=torch.ones_like(prompt), **options))

        def attached(prompt: Any = prompt, options: Any = options) -> float:
            attach(model, memory, 0.3, lock, LAYER)
            return timed(lambda: model.generate(prompt, attention_mask=torch.ones_like(prompt), **options))

        bare(), attached()
        seconds, seconds_attached, ratio = paired(bare, attached, 3 if quick else 7)
        tell(f"batch {batch}: {tokens / seconds:.1f} tokens/s, {tokens / seconds_attached:.1f} with the memory")
        about = f"attached / bare, {tokens} tokens, batch {batch}, {str(model.dtype).removeprefix('torch.')}"
        main_row = batch == 1
        rows.append(
            Row(f"attach_overhead{'' if main_row else f'_{batch}'}", about, ratio, "x", 1.3 if main_row else None,
                1.1 if main_row else None, False, "transformers generate")
        )  # fmt: skip
    detach(model)
    return rows


def memory_speed_rows(quick: bool) -> list[Row]:
    """The memory's part of a step against kNN-LM's, at a million keys; nothing where faiss is not installed."""
    try:
        peer_library("faiss").omp_set_num_threads(os.cpu_count() or 1)
    except MissingPeer as error:
        tell(str(error))
        return []
    return of_size(keys(30_000 if quick else 1_000_000), 8 if quick else 12)


def of_size(store_keys: Keys, repeats: int) -> list[Row]:
    """``repeats`` steps are timed of each kind, in turn with the MLP's."""
    model, _ = languagemodel.load(MODEL)
    size, name = len(store_keys.token), f"{len(store_keys.token):,} keys"
    vectors, document = torch.from_numpy(store_keys.key), torch.from_numpy(store_keys.document)
    sampled = np.sort(np.random.default_rng(3).permutation(size)[: repeats * max(BATCHES)])
    queries, audited = vectors[torch.from_numpy(sampled)], sampled[:: max(1, len(sampled) // AUDITED)]
    memory = random_memory(torch.from_numpy(np.unique(store_keys.token).astype(np.int64)), model.dtype)
    tell(f"{name}, a head of {len(memory.tokens):,} tokens, {repeats} steps of each")
    floats = store_keys.key.astype(np.float32)

    flat = peer_library("faiss").IndexFlatL2(floats.shape[1])
    flat.add(floats)
    truth = true_neighbours(flat, store_keys.document, floats[audited], audited)
    own = ExactSearch(torch.from_numpy(floats), document, padded=False)
    exact = {"faiss IndexFlatL2": faiss_search(flat), "mnemic Exact": own_search(own)}
    rows, seconds = compared("exact", exact, memory, queries, repeats, name)
    del flat, own, exact

    inverted, settings = inverted_file(floats, store_keys.document, audited, truth, RECALL)
    store = KNNMemory(
        vectors, torch.from_numpy(store_keys.token), document, 2.0, K, measured_lists(vectors, document)
    ).store
    assert isinstance(store, Lists)
    tell(f"faiss IVF-Flat {settings}; mnemic Lists {len(store.centroids)} lists, {store.probes} looked at")
    lists = {f"faiss IndexIVFFlat {settings}": faiss_search(inverted), "mnemic Lists": own_search(store)}
    rows_inverted, seconds_inverted = compared("ivf", lists, memory, queries, repeats, name)
    return [*rows, *rows_inverted, *end_to_end(model, {**seconds, **seconds_inverted}, repeats)]


def compared(
    kind: str, searches: dict[str, Any], memory: MLPMemory, queries: torch.Tensor, repeats: int, name: str
) -> tuple[list[Row], dict[tuple[str, int], float]]:
    """Rows of the fastest of ``searches`` over the MLP, and seconds of a step of both, for each batch."""
    must, goal = (20, 80) if kind == "exact" else (None, 5)
    rows, seconds = [], {}
    for batch in BATCHES:
        best: tuple[float, float, float, str] | None = None
        for label, search in searches.items():
            times = paired(stepping(memory_step(memory), queries, batch), stepping(search, queries, batch), repeats)
            tell(f"  batch {batch}: {label} {1e3 * times[1]:.2f} ms, MLP {1e3 * times[0]:.2f} ms")
            if best is None or times[1] < best[1]:
                best = (*times, label)
        assert best is not None
        seconds["MLP", batch], seconds[kind, batch] = best[0], best[1]
        suffix = "" if batch == 1 else f"_{batch}"
        about = f"{kind} search / MLP, {name}, {batch} at a time"
        rows.append(Row(f"memory_speed_vs_{kind}{suffix}", about, best[2], "x", must, goal, peer=best[3]))
    return rows, seconds


def end_to_end(model: Any, seconds: dict[tuple[str, int], float], repeats: int) -> list[Row]:
    """Steps of generation: the model's forward pass, and the memory's part on top."""
    rows = []
    for batch in BATCHES:
        context = torch.randint(100, 40_000, (batch, CONTEXT), generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            cache = model(input_ids=context[:, :-1], use_cache=True, logits_to_keep=1).past_key_values

            def step(context: Any = context, cache: Any = cache) -> None:
                model(input_ids=context[:, -1:], past_key_values=cache, logits_to_keep=1)
                cache.crop(-1)

            step()
            base = statistics.median(timed(step) for _ in range(repeats))
        rows.append(Row(f"step_base_{batch}", f"forward pass, {CONTEXT} tokens of context", 1e3 * base, "ms"))
        for kind, memory in (("MLP", "an MLP memory"), ("exact", "exact search"), ("ivf", "inverted search")):
            whole = 1e3 * (base + seconds[kind, batch])
            rows.append(Row(f"step_{kind.lower()}_{batch}", f"the same with {memory}", whole, "ms"))
    return rows


def stepping(step: Callable[[torch.Tensor], object], queries: torch.Tensor, batch: int) -> Callable[[], float]:
    """Seconds of a step on the next ``batch`` of the queries, one after the other; the first is not counted."""
    at = 0

    def seconds() -> float:
        nonlocal at
        part = queries[at : at + batch]
        at = (at + batch) % (len(queries) - batch + 1)
        return timed(lambda: step(part))

    seconds()
    return seconds


def random_memory(tokens: torch.Tensor, dtype: torch.dtype) -> MLPMemory:
    torch.manual_seed(0)
    memory = MLPMemory(MemoryConfig(576, 576, len(tokens)), tokens)
    for name, weight in memory.named_parameters():
        if name.endswith("down.weight"):
            torch.nn.init.normal_(weight, std=0.02)
    return memory.to(dtype).eval().requires_grad_(False)


def memory_step(memory: MLPMemory) -> Callable[[torch.Tensor], object]:
    return torch.inference_mode()(memory.log_probs)


def faiss_search(index: Any) -> Callable[[torch.Tensor], object]:
    return lambda queries: index.search(queries.float().numpy(), K)


def own_search(store: ExactSearch | Lists) -> Callable[[torch.Tensor], object]:
    return lambda queries: store.search(queries, torch.full((len(queries),), -1), K)


def measured_lists(vectors: torch.Tensor, document: torch.Tensor) -> Any:
    store = Lists(vectors, document)
    store.measure(RECALL)
    return store.layout


if __name__ == "__main__":
    sys.exit(main("imitate.speed", __doc__ or "", measure))
