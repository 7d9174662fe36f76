"""Asking the index: longest match and continuations of the context before each token of text that it does not have.

`infini-gram` has the same tokens, its own indexer sorts them, and its engine answers
`infgram_ntd`, the longest suffix that stands there and what follows it. Contexts are the last 64 tokens. Answers are
compared where both look at all places. Its engine is asked one context at a time, the only way that it has; ours all at
once, as evaluation does, and one at a time, as generation does.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.report import Row, paired, peer_library, tell
from bench.suffix.corpus import FOLDER, Corpus
from bench.teacher.keys import MODEL
from mnemic import languagemodel
from mnemic.suffixes.contexts import LONGEST, Contexts
from mnemic.suffixes.index import LOOKED_AT, SuffixIndex
from mnemic.suffixes.stored import index_of

PEER = "infini_gram.engine"
PEER_NAME = "infini-gram 2.6.0"


def query_rows(corpus: Corpus, quick: bool) -> list[Row]:
    index = index_of(corpus.bank.view)
    tokenizer = languagemodel.tokenizer(MODEL)
    tokens = np.array(tokenizer("\n".join(corpus.questions), add_special_tokens=False)["input_ids"], np.int64)
    tokens = tokens[: 5_000 if quick else 50_000]
    engine = _engine(index, FOLDER / ("infini-gram-quick" if quick else "infini-gram"))
    some = np.linspace(LONGEST, len(tokens) - 1, 300 if quick else 2000).astype(np.int64)
    prompts = [tokens[end - LONGEST : end].tolist() for end in some]

    def all_at_once() -> float:
        started = time.process_time()
        index.continuations(index.matches(Contexts.before_each(tokens)))
        return (time.process_time() - started) / len(tokens)

    def one_by_one() -> float:
        started = time.process_time()
        for prompt in prompts:
            index.continuations(index.matches(Contexts.of([prompt])))
        return (time.process_time() - started) / len(prompts)

    def theirs() -> float:
        started = time.process_time()
        for prompt in prompts:
            engine.infgram_ntd(prompt_ids=prompt, max_support=LOOKED_AT)
        return (time.process_time() - started) / len(prompts)

    all_at_once()
    seconds, seconds_theirs, ratio = paired(all_at_once, theirs, 1 if quick else 5)
    alone, _, alone_ratio = paired(one_by_one, theirs, 1 if quick else 5)
    equal = _equal(index, engine, prompts[:200])
    places = f"{index.places:,} tokens"
    return [
        Row("suffix_query", f"a context, {places}", 1e6 * seconds, "us", 10.0, 3.0, higher_is_better=False),
        Row("suffix_query_ratio", f"{PEER_NAME}'s time over ours", ratio, "x", 3.0, 10.0, peer=PEER_NAME),
        Row("suffix_query_peer", f"a context, {PEER_NAME}", 1e6 * seconds_theirs, "us", peer=PEER_NAME),
        Row("suffix_query_alone", "a context, one a call, as generation asks", 1e6 * alone, "us"),
        Row("suffix_query_alone_ratio", f"{PEER_NAME}'s time over that", alone_ratio, "x", peer=PEER_NAME),
        Row("suffix_query_equal", f"answers that are {PEER_NAME}'s", equal, "", 1.0, 1.0, peer=PEER_NAME),
    ]


def _engine(index: SuffixIndex, folder: Path) -> Any:
    """The peer's engine over the tokens of ``index``, indexed by its own indexer."""
    library = peer_library(PEER)
    if not (folder / "table.0").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data").mkdir(exist_ok=True)
        parts: list[NDArray[np.uint16]] = []
        offsets, size = list[int](), 0
        separator = np.array([0xFFFF], np.uint16)
        for shard in index.shards:
            ends = np.append(shard.offsets[1:], len(shard.tokens)) - 1
            for start, end in zip(shard.offsets, ends, strict=True):
                offsets.append(size)
                parts += [separator, shard.tokens[start:end]]
                size += 2 * (int(end - start) + 1)
        np.concatenate(parts).astype("<u2").tofile(folder / "tokenized.0")
        np.array(offsets, "<u8").tofile(folder / "offset.0")
        started = time.perf_counter()
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        options = {"data_dir": folder / "data", "save_dir": folder, "token_dtype": "u16", "cpus": 1, "mem": 4}
        options["ulimit"] = files
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        subprocess.run(
            [sys.executable, "-m", "infini_gram.indexing", *words], check=True, stdout=sys.stderr, timeout=1800
        )
        tell(f"infini-gram: indexed in {time.perf_counter() - started:.1f} s")
    return library.InfiniGramEngine(index_dir=str(folder), eos_token_id=0, vocab_size=49152, token_dtype="u16")


def _equal(index: SuffixIndex, engine: Any, prompts: list[list[int]]) -> float:
    """Share of the answers to contexts with few places that have the same length of match and the same shares.

    Without a match the peer answers with shares of all tokens, and ours with none: then the length alone is compared.
    """
    same = total = 0
    for prompt in prompts:
        matches = index.matches(Contexts.of([prompt]))
        if matches.counts[0, 0] > LOOKED_AT:
            continue
        total += 1
        answer = engine.infgram_ntd(prompt_ids=prompt, max_support=10 * LOOKED_AT)
        following = index.continuations(matches, None)
        ours = dict(zip(following.tokens.tolist(), following.counts.tolist(), strict=True))
        theirs = {int(token): one["cont_cnt"] for token, one in answer["result_by_token_id"].items()}
        shared = {token: count for token, count in theirs.items() if token not in (0, 0xFFFF)}
        length = int(matches.lengths[0, 0])
        same += length == answer["suffix_len"] and (not length or ours == shared)
    return same / max(total, 1)
