"""What blocks cost: a fetch against one read of as many bytes, and a batch of many topics against one of one."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch

from bench.blocks.corpus import MODEL
from bench.report import Row
from mnemic import languagemodel
from mnemic.attach.feedforward import Projections
from mnemic.attach.fetched import ChosenRows, PromptBlocks
from mnemic.attach.host import Host
from mnemic.bank import Bank
from mnemic.blocks.layout import GENERIC
from mnemic.blocks.shelf import BlockShelf
from mnemic.memories.blocks import StoredBlocks

ROUNDS = 7
SEQUENCES, POSITIONS = 16, 64


def cost_rows(bank: Bank) -> list[Row]:
    memory = cast(StoredBlocks, bank.memory("blocks"))
    return [*_fetch(bank, memory), *_distinct(memory)]


def _fetch(bank: Bank, memory: StoredBlocks) -> list[Row]:
    layout = memory.module.layout
    path = next(path for path in memory.module.paths if path not in GENERIC)
    size = layout.size(memory.module.rows(path))
    files = [file for file in (Path(bank.path) / "blocks.lance" / "data").iterdir() if file.is_file()]
    shelf = BlockShelf(bank.view, layout, resident=0)

    def fetch() -> None:
        shelf._deep.clear()
        shelf.block(path)

    with tempfile.NamedTemporaryFile(dir=Path(bank.path).parent) as plain:
        plain.write(os.urandom(size))
        plain.flush()
        os.fsync(plain.fileno())

        def read() -> None:
            torch.frombuffer(bytearray(os.pread(plain.fileno(), size, 0)), dtype=torch.bfloat16)

        cold = _interleaved([fetch, read], lambda: _forget([*files, Path(plain.name)]))
        warm = _interleaved([fetch, read], lambda: None)
    return [
        Row(
            "fetch",
            f"cold, one block of {size / 1e6:.2f} MB / one pread of it",
            cold[0] / cold[1],
            "x",
            5.0,
            1.5,
            False,
        ),
        Row("fetch", "warm, the same", warm[0] / warm[1], "x"),
        Row("fetch_ms", "cold", 1e3 * cold[0], "ms"),
        Row("fetch_ms", "warm", 1e3 * warm[0], "ms"),
    ]


def _forget(files: list[Path]) -> None:
    """Let the kernel drop what it holds of ``files``."""
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def _distinct(memory: StoredBlocks) -> list[Row]:
    model, _ = languagemodel.load(MODEL)
    leaves = [path for path in memory.module.paths if path not in GENERIC and "." in path]
    many = [leaves[number % len(leaves)] for number in range(SEQUENCES)]
    ids = torch.randint(0, 40_000, (SEQUENCES, POSITIONS), generator=torch.Generator().manual_seed(0))
    host = Host.of(model)

    def forward(ways: list[str]) -> Callable[[], None]:
        def run() -> None:
            with memory.at(*ways).enter(host, 1.0), torch.inference_mode():
                model(input_ids=ids, use_cache=False, logits_to_keep=1)

        return run

    shared, distinct = _interleaved([forward(leaves[:1]), forward(many)], lambda: None)
    host.close()
    metric = f"{SEQUENCES} sequences of {len(set(many))} paths / of one, forward"
    return [Row("distinct_paths", metric, distinct / shared, "x", 1.6, 1.2, higher_is_better=False)]


def _interleaved(runs: list[Callable[[], None]], before: Callable[[], None]) -> list[float]:
    """The median seconds of each, in turn."""
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(ROUNDS):
        for run, measured in zip(runs, seconds, strict=True):
            before()
            started = time.perf_counter()
            run()
            measured.append(time.perf_counter() - started)
    return [statistics.median(measured) for measured in seconds]


def exact_rows(bank: Bank) -> list[Row]:
    """Zero down parts against the model, and a merged checkpoint against the attached model."""
    import transformers

    memory = cast(StoredBlocks, bank.memory("blocks"))
    layout = memory.module.layout
    model, tokenizer = languagemodel.load(MODEL, "float32")
    ids = tokenizer("To write a table to disk, open the file and call the writer.", return_tensors="pt")["input_ids"]
    leaf = next(path for path in reversed(memory.module.paths) if "." in path)
    zero = memory.module.block(leaf).clone()
    zero[:, -1] = 0
    same = torch.equal(_logits(model, ids), _logits_with(model, ids, layout.layers, zero))
    rows = [Row("blocks_exact", "zero down part equals the model", float(same), "", 1.0)]
    with tempfile.TemporaryDirectory() as folder:
        bank.merge(model, folder, node=leaf)
        for dtype, must in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
            host = Host.of(model.to(dtype))
            with memory.at(leaf).enter(host, 1.0):
                attached = _logits(model, ids)
            host.close()
            merged = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
            far = float((_logits(merged, ids) - attached).abs().max())
            rows.append(Row("blocks_exact", f"merged against attached, {dtype}", far, "", must, higher_is_better=False))
    return rows


def _logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=ids).logits
    return logits


def _logits_with(model: Any, ids: torch.Tensor, layers: tuple[int, ...], block: torch.Tensor) -> torch.Tensor:
    host, chosen = Host.of(model), PromptBlocks(1, [((0,), block)])
    stack = languagemodel.blocks(model)
    for number, layer in enumerate(layers):
        host.beside(layer, ChosenRows(Projections.of(stack[layer]), number, lambda prompt: chosen, host.prompt))
    logits = _logits(model, ids)
    host.close()
    return logits
