"""Tracing answers of 500 tokens, and exact search, in a bank of ten million: milliseconds of a call, all included."""

from __future__ import annotations

import statistics

from bench.report import Row, timed
from bench.suffix.corpus import Corpus
from bench.teacher.keys import MODEL
from mnemic import languagemodel

TOKENS = 500


def tracing_rows(corpus: Corpus, quick: bool) -> list[Row]:
    tokenizer = languagemodel.tokenizer(MODEL)
    bank = corpus.bank
    texts = [text for text in [*corpus.prompts, *corpus.questions] if len(text) > 4 * TOKENS][: 8 if quick else 24]
    answers = [tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"][:TOKENS]) for text in texts]
    for answer in answers[:2]:
        bank.trace(answer, tokenizer=tokenizer)
    traces = [bank.trace(answer, tokenizer=tokenizer) for answer in answers]
    seconds = [timed(lambda answer=answer: bank.trace(answer, tokenizer=tokenizer)) for answer in answers]  # type: ignore[misc]
    strings = [answer[200:240] for answer in answers]
    exact = [timed(lambda part=part: bank.count(part, tokenizer=tokenizer)) for part in strings]  # type: ignore[misc]
    letter = min(timed(lambda: bank.count("e", tokenizer=tokenizer)) for _ in range(3))
    spans = statistics.mean(len(trace) for trace in traces)
    covered = statistics.mean(trace.covered for trace in traces)
    about = f"an answer of {TOKENS} tokens, {spans:.0f} spans, {covered:.0%} of it"
    return [
        Row("trace_ms", about, 1e3 * statistics.median(seconds), "ms", 20.0, 5.0, higher_is_better=False),
        Row("trace_ms_worst", f"the slowest of {len(answers)}", 1e3 * max(seconds), "ms"),
        Row("count_ms", "count of 40 characters", 1e3 * statistics.median(exact), "ms"),
        Row("count_ms_letter", "count of one letter", 1e3 * letter, "ms"),
    ]
