"""datatrove's four filters on a Parquet file of texts: decisions, first reasons, and CPU seconds, as JSON.

    PEER/bin/python -m bench.curate.datatrove DOCUMENTS.parquet OUT.json [--from-c4]

Runs in an environment of its own (`pip install datatrove==0.10.1 spacy`), which mnemic is not installed in. Each filter
gets the text as it is; `pipeline` is FineWeb's order, in which C4 replaces the text and a drop ends the document.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pyarrow.parquet as pq


def judged(judge: Any, text: str) -> tuple[str, str]:
    """(reason or "keep", the text after the filter)."""
    from datatrove.data import Document

    document = Document(text=text, id="0")
    try:
        result = judge.filter(document)
    except ZeroDivisionError:
        return "error", text
    return ("keep" if result is True else result[1]), document.text


def main() -> None:
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.utils.text import split_into_words

    texts = pq.read_table(sys.argv[1])["text"].to_pylist()
    split_into_words("warm up")
    result: dict[str, Any] = {"seconds": {}}
    filters = {
        "gopher_repetition": GopherRepetitionFilter(),
        "gopher_quality": GopherQualityFilter(),
        "c4": C4QualityFilter(),
        "fineweb": FineWebQualityFilter(),
    }
    begun = time.process_time()
    four: dict[str, list[str]] = {name: [] for name in filters}
    for text in texts:
        for name, judge in filters.items():
            four[name].append(judged(judge, text)[0])
    result["seconds"]["four"] = time.process_time() - begun
    begun = time.process_time()
    ordered = [
        ("gopher_repetition", GopherRepetitionFilter()),
        ("gopher_quality", GopherQualityFilter()),
        ("c4", C4QualityFilter(filter_no_terminal_punct=False)),
        ("fineweb", FineWebQualityFilter()),
    ]
    pipeline = []
    for original in texts:
        reason, text = "keep", original
        for name, judge in ordered:
            reason, text = judged(judge, text)
            if reason != "keep":
                reason = f"{name}:{reason}"
                break
        pipeline.append(reason)
    result["seconds"]["pipeline"] = time.process_time() - begun
    result["reasons"] = {**four, "pipeline": pipeline}
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(result, file)
    print(len(texts), "documents", result["seconds"])


if __name__ == "__main__":
    main()
