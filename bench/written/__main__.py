"""What a search finds with written memory: passages by their links, days of conversations, and notes.

`python -m bench.written` measures all of it, and `python -m bench.written.PART` one part: hotpotqa, musique, chapters,
answers, recorded. Banks are kept between runs in `bench.places.CACHE`.

Three banks are built of each set of passages, every setting at its default: one with `context: {}` in its recipe, one
with `names: {}` too and one without. `NAME_5` is the share of gold passages among the five best of a search for whole
documents (`level="session"`) of the first, which follows links; `NAME_5_bare` without links, whose bound is that of
both signals of the peers, fused by reciprocal ranks in the same run; `NAME_5_leaf` among the documents of its smallest
rows, best first. Peers are BM25, vectors of whole passages, both, and LinearRAG's rule (`bench.written.linear_rag`).
Differences are paired, with the middle 95 % of a bootstrap, and shares also stand for the even questions, on which
constants were chosen, and for the odd ones. `PUBLISHED` is printed as it was published: other encoders, larger corpora,
a thousand questions.

`NAME_links_p95` is what following links adds to a search, in milliseconds, at the 95th percentile by the clock, and
`NAME_links_p95_cpu` by the processor, in all threads, which says less of other work on the machine.

`chapters_3` is the same of made chapters (`bench.written.chapters`), whose cues are words: the bound is BM25's.

`dated_*` are the words of LoCoMo's answers in the context (`bench.written.answers`); `noted_*`, `evidence_noted_*` and
`calls` are of a bank with recorded notes (`bench.written.recorded`).

Expected on machine C of LOG.md (2 busy cores of an Intel Xeon): hotpotqa_5 94.0, musique_5 69.2, without links 82.5
and 63.1, with `names` 94.0 and 70.2, where both signals over whole passages have 81.0 and 61.5, LinearRAG's rule 77.5
and 68.2 and with the constants of its script 75.5 and 71.8 %; chapters_3 83.1, BM25 66.8; dated_250 to dated_1000 72.0,
80.2, 85.6; evidence_noted_250 to evidence_noted_1000 76.0, 82.6, 88.3, of multi-hop questions 39.3. It takes 35 minutes
beside other work, a third of it for banks, which the next run finds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from bench import data
from bench.report import Row, main, tell
from bench.written import answers, chapters, hotpotqa, musique, recorded

PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "HotpotQA": hotpotqa.rows,
    "MuSiQue": musique.rows,
    "Chapters": chapters.rows,
    "Answers": answers.rows,
    "Notes": recorded.rows,
}

PUBLISHED = (
    "HotpotQA 96.3, MuSiQue 74.7 @5: HippoRAG 2 with NV-Embed-v2 (7 B) and triples by Llama-3.3-70B",
    "HotpotQA 94.5, MuSiQue 69.7 @5: NV-Embed-v2 (7 B) alone",
    "HotpotQA 77.7, MuSiQue 51.9 @5: HippoRAG with ColBERTv2",
    "LoCoMo, calls and thousands of tokens for ten conversations: LightMem 255 to 415 and 765 to 998, A-MEM 11,754 and "
    "11,494, mem0 (old) 19,070 and 24,305, MemoryOS 5,534 and 2,870",
)


def measure(quick: bool) -> list[Row]:
    rows = []
    for line in PUBLISHED:
        print(f"as published: {line}", flush=True)
    for name, part in PARTS.items():
        try:
            rows += part(quick)
        except data.MissingData as error:
            tell(f"{name} was not measured. {error}")
    return rows


if __name__ == "__main__":
    sys.exit(main("written", __doc__ or "", measure))
