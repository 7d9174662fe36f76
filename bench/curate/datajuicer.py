"""data-juicer's eight statistics on a Parquet file of texts: values, and CPU seconds, as JSON.

    PEER/bin/python -m bench.curate.datajuicer DOCUMENTS.parquet OUT.json

Runs in an environment of its own (`pip install py-data-juicer==1.6.1 aiohttp`), which mnemic is not installed in.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

import pyarrow.parquet as pq

FILTERS = {
    "alnum_ratio": ("alphanumeric_filter", "AlphanumericFilter"),
    "special_char_ratio": ("special_characters_filter", "SpecialCharactersFilter"),
    "text_len": ("text_length_filter", "TextLengthFilter"),
    "avg_line_length": ("average_line_length_filter", "AverageLineLengthFilter"),
    "max_line_length": ("maximum_line_length_filter", "MaximumLineLengthFilter"),
    "char_rep_ratio": ("character_repetition_filter", "CharacterRepetitionFilter"),
    "num_words": ("words_num_filter", "WordsNumFilter"),
    "word_rep_ratio": ("word_repetition_filter", "WordRepetitionFilter"),
}


def main() -> None:
    from data_juicer.utils.constant import Fields

    texts = pq.read_table(sys.argv[1])["text"].to_pylist()
    seconds: dict[str, float] = {}
    values: dict[str, list[Any]] = {}
    for name, (module, kind) in FILTERS.items():
        judge = getattr(importlib.import_module(f"data_juicer.ops.filter.{module}"), kind)()
        samples = {"text": texts, Fields.stats: [{} for _ in texts]}
        begun = time.process_time()
        samples = judge.compute_stats_batched(samples)
        seconds[name] = time.process_time() - begun
        values[name] = [stats[name] for stats in samples[Fields.stats]]
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump({"seconds": seconds, "values": values}, file)
    print(len(texts), "documents", seconds, sum(seconds.values()))


if __name__ == "__main__":
    main()
