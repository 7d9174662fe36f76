"""The indexes of a dataset: full text (BM25), vectors (IVF), and prefilters by tenant, source, level and time.

* ``plan``    which indexes a dataset has at its size, and what they do not cover yet
* ``build``   segments written by workers, merged and committed; new fragments added; training anew
* ``bm25``    full-text search
* ``nearest`` vector search, by an index and exactly
* ``held_vectors`` vectors in the memory of a process that answers many searches
* ``ties``    what both do about conditions and equal scores
* ``recent``  what is held for the conditions that were asked last
* ``satisfying`` rows that satisfy a condition, held of small datasets
* ``rows``    reading columns of hundreds of rows at once
* ``grouped`` rows by what a column holds, such as the rows of a document
* ``recall``  recall against exact search on a sample, and the setting that reaches it

Below `plan.VECTOR_INDEX_ROWS` rows a vector query reads every vector: exact.
"""

from mnemic.dataset.index.bm25 import search_text, search_text_under
from mnemic.dataset.index.build import (
    IndexWork,
    Merge,
    TrainCentroids,
    Workers,
    Write,
    build_indexes,
    drop_indexes,
    in_this_process,
)
from mnemic.dataset.index.grouped import rows_with
from mnemic.dataset.index.held_vectors import hold_vectors, vectors_of
from mnemic.dataset.index.nearest import EXACT_ROWS, search_among, search_exact, search_vector
from mnemic.dataset.index.plan import (
    TITLES,
    VECTOR_INDEX_ROWS,
    VectorSettings,
    built,
    needs_indexing,
    record_of_index,
    search_settings,
    unindexed_rows,
    write_record,
)
from mnemic.dataset.index.recall import exact_neighbours, measure_recall, recall_of
from mnemic.dataset.index.recent import Recent, remembered
from mnemic.dataset.index.rows import hold, read_rows, read_wide, row_ids_where, rows_of_ids
from mnemic.dataset.index.satisfying import held_conditions

__all__ = [
    "EXACT_ROWS",
    "TITLES",
    "VECTOR_INDEX_ROWS",
    "IndexWork",
    "Merge",
    "Recent",
    "TrainCentroids",
    "VectorSettings",
    "Workers",
    "Write",
    "build_indexes",
    "built",
    "drop_indexes",
    "exact_neighbours",
    "held_conditions",
    "hold",
    "hold_vectors",
    "in_this_process",
    "measure_recall",
    "needs_indexing",
    "read_rows",
    "read_wide",
    "recall_of",
    "record_of_index",
    "remembered",
    "row_ids_where",
    "rows_of_ids",
    "rows_with",
    "search_among",
    "search_exact",
    "search_settings",
    "search_text",
    "search_text_under",
    "search_vector",
    "unindexed_rows",
    "vectors_of",
    "write_record",
]
