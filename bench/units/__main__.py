"""Documents to units: the rules of sentences compiled, beside the regular expression, and other splitters.

The texts are the documentation of the packages beside the running interpreter, as a build reads them, and a part of
them for the peers. Rates are UTF-8 bytes by CPU seconds of this process on one thread, the best of several passes after
compilation, which is printed: ours from Arrow's documents to its rows of units, the peers' from Python's strings to
ranges of characters.

* `units_unequal`: units that the compiled rules cut elsewhere than the regular expression.
* nltk's Punkt (Kiss and Strunk 2006) has no parameters of a language here, so it has no abbreviations to look up.
* blingfire is a finite automaton in C++.

Expected on machine C of LOG.md (2 busy cores of an Intel Xeon; `--quick`, 1 MB of text): units_rate 123 MB/s,
units_rate_expression 5.2, units_speedup 24, units_unequal 0, units_rate_punkt 4.4, units_rate_blingfire 5.4.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.cluster.vectors import documentation
from bench.places import CACHE
from bench.report import MissingPeer, Row, main, peer_library, tell
from mnemic.schema import DOCUMENTS
from operators.sentences import Sentences
from operators.sentences.pieces import compiled_pieces, matched_pieces

SIZE, QUICK = 16_000_000, 1_000_000
"""Characters of the texts."""

SAMPLE = 2_000_000
"""Characters of those that the peers and the regular expression get."""

LONGEST = Sentences().max_characters


def documents(size: int) -> pa.RecordBatch:
    """Documents of about ``size`` characters in all, as a bank has them."""
    file = CACHE / "units" / f"texts-{size}.parquet"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        texts, characters = [], 0
        for text in documentation():
            texts.append(text)
            characters += len(text)
            if characters >= size:
                break
        pq.write_table(pa.table({"text": pa.array(texts, pa.large_string())}), file)
    texts = pq.read_table(file)["text"].combine_chunks()
    facts: dict[str, Any] = {field.name: pa.nulls(len(texts), field.type) for field in DOCUMENTS if field.nullable}
    words = {"id": [f"{number:032x}" for number in range(len(texts))], "source": ["python"] * len(texts)}
    facts |= {field.name: words.get(field.name, [""] * len(texts)) for field in DOCUMENTS if not field.nullable}
    return pa.RecordBatch.from_pydict(facts | {"text": texts, "length": pc.utf8_length(texts)}, schema=DOCUMENTS)


def sample(batch: pa.RecordBatch, size: int) -> pa.RecordBatch:
    """The first documents, of about ``size`` characters in all."""
    ends = np.cumsum(batch.column("length").to_numpy())
    return batch.slice(0, int(np.searchsorted(ends, size)) + 1)


def rate(action: Callable[[], object], batch: pa.RecordBatch, passes: int) -> float:
    """Megabytes of the texts by CPU second, the best of ``passes``."""
    seconds = []
    for _ in range(passes):
        begun = time.process_time()
        action()
        seconds.append(time.process_time() - begun)
    return int(pc.sum(pc.binary_length(batch.column("text"))).as_py()) / min(seconds) / 1e6


def peers(batch: pa.RecordBatch, ours: float) -> list[Row]:
    """Rates of the splitters that are installed."""
    texts: list[str] = batch.column("text").to_pylist()
    rows: list[Row] = []
    for name, module, splitter in (("punkt", "nltk.tokenize.punkt", _punkt), ("blingfire", "blingfire", _blingfire)):
        try:
            split = splitter(peer_library(module))
        except MissingPeer as error:
            tell(str(error))
            continue
        theirs = rate(partial(_all, split, texts), batch, 3)
        rows += [
            Row(f"units_rate_{name}", f"{name}, texts to ranges", theirs, "MB/s", peer=name),
            Row(f"units_vs_{name}", "documents to units, by its rate", ours / theirs, "x", peer=name),
        ]
    return rows


def _all(split: Callable[[str], object], texts: list[str]) -> None:
    for text in texts:
        split(text)


def _punkt(library: Any) -> Callable[[str], object]:
    tokenizer = library.PunktSentenceTokenizer()
    return lambda text: list(tokenizer.span_tokenize(text))


def _blingfire(library: Any) -> Callable[[str], object]:
    return library.text_to_sentences_and_offsets  # type: ignore[no-any-return]


def measure(quick: bool) -> list[Row]:
    operator, batch = Sentences(), documents(QUICK if quick else SIZE)
    compiled = partial(operator.units_of, partial(compiled_pieces, longest=LONGEST))
    matched = partial(operator.units_of, partial(matched_pieces, longest=LONGEST))
    begun = time.process_time()
    compiled(batch.slice(0, 1))
    tell(f"compilation and first use: {time.process_time() - begun:.1f} s of CPU")
    part = sample(batch, SAMPLE)
    ours, by_expression = rate(lambda: compiled(batch), batch, 5), rate(lambda: matched(part), part, 3)
    (units, _), (definition, _) = compiled(part), matched(part)
    unequal = len(_bounds(units) ^ _bounds(definition))
    return [
        Row("units_rate", "documents to units, one core", ours, "MB/s", 4.5, 50),
        Row("units_rate_expression", "the same by the regular expression", by_expression, "MB/s"),
        Row("units_speedup", "of the compiled rules", ours / by_expression, "x"),
        Row("units_unequal", f"of {len(definition):,}", unequal, "units", 0, 0, False),
        *peers(part, ours),
    ]


def _bounds(units: pa.RecordBatch) -> set[tuple[str, int, int]]:
    """Document, start and end of each unit."""
    return set(zip(*(units.column(name).to_pylist() for name in ("document", "start", "end")), strict=True))


if __name__ == "__main__":
    raise SystemExit(main("units", __doc__ or "", measure))
