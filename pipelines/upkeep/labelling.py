"""Labels of the tree without words that only removed texts had.

The tree stays when documents go, and so do the labels of its nodes, which are words of texts. A word that stands in no
event any more is taken out of them; the next tree has labels of its own.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from mnemic.dataset import Snapshot
from mnemic.dataset.write import write_whole
from operators.cluster.labels import words_of
from pipelines.steps.contracts import Context

_BATCH = 8192


def forget_words(context: Context) -> None:
    """Write `clusters` anew where a label has a word that no leaf of `events` has."""
    clusters, events = context.store["clusters"], context.store["events"].snapshot()
    nodes = clusters.snapshot()
    if nodes is None or events is None or "label" not in nodes.schema.names:
        return
    table = nodes.table(nodes.schema.names)
    labels = [label.split(", ") if label else [] for label in table["label"].to_pylist()]
    lost = unsaid(events, {word for label in labels for word in label})
    if not lost:
        return
    rest = [", ".join(word for word in label if word not in lost) for label in labels]
    place = table.schema.get_field_index("label")
    field = table.schema.field(place)
    table = table.set_column(place, field, pa.array(rest, field.type)).replace_schema_metadata(None)
    record = nodes.record or {}
    context.commit(lambda: clusters.replace(table.schema, write_whole(clusters, table), record, {}))


def unsaid(events: Snapshot, words: set[str]) -> set[str]:
    """Those of ``words`` that no leaf has. A word that many have stands in the first rows, and is not sought again."""
    left = set(words)
    for batch in events.scan(["text"], "leaf", batch_size=_BATCH) if left else ():
        texts = pc.utf8_lower(batch["text"])
        for word in sorted(left):
            with_it = texts.filter(pc.match_substring(texts, word)).to_pylist()
            if any(word in words_of(text) for text in with_it):
                left.discard(word)
        if not left:
            break
    return left
