"""The suffix index of a release: loaded once a process, whole, of some documents, or of those that may be evaluated.

Up to `IN_MEMORY` bytes the shards are held in memory. A larger index is written once into files beside the bank, in a
folder `BANK.cache`, and mapped; for a bank in an object store the folder is the user's cache. The files are those of a
release and are made again for another.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mnemic.conditions import Conditions, Where
from mnemic.conditions.reading import OF_DOCUMENTS, all_of
from mnemic.errors import BankError, QueryError
from mnemic.facts import ADVICE
from mnemic.ids import hash_parts
from mnemic.quoting import one_of, quoted
from mnemic.schema import SUFFIXES
from mnemic.splits import HELD_OUT
from mnemic.suffixes.index import SuffixIndex
from mnemic.suffixes.mapped import mapped_shards
from mnemic.suffixes.rows import ARRAYS, shard_of
from mnemic.suffixes.shard import Shard
from mnemic.view import View, fitting

IN_MEMORY = 4 << 30
"""Bytes of tokens and places up to which an index is held in memory."""

LEAK = 0.5
"""Share of a held-out document's word 5-grams that a document has to be left out of an evaluation."""

_NAME = re.compile("[0-9a-f]{32}")

_REMEMBERED = 8
"""Indexes that a process keeps: of releases, and of conditions on them."""

_indexes: OrderedDict[str, SuffixIndex] = OrderedDict()


def has_suffixes(view: View) -> bool:
    """Whether the release has a suffix index with something in it."""
    return "suffixes" in view and view.release.counts.get("suffixes", 0) > 0


def index_of(view: View, where: Where = None) -> SuffixIndex:
    """The index of the release: of its documents that satisfy ``where``.

    ``where`` is as in `Bank.search`, over documents: their tenant, source, collection, session and document, or SQL
    over their columns. Raises ``BankError`` where the release has no suffixes, ``QueryError`` for another condition.
    """
    if not has_suffixes(view):
        raise BankError(
            f"Release {view.release.name} of {view.path} has no suffix index. Write `suffixes: {{}}` into its recipe "
            "and build again."
        )
    sql = _condition(view, where)
    if sql is None:
        return _remembered(_key(view), lambda: SuffixIndex(_shards(view)))
    return _remembered(hash_parts(_key(view), sql), lambda: _narrowed(view, sql))


def evaluated_index(view: View) -> SuffixIndex:
    """The index without held-out documents, those for validation too, and without what would give them away.

    That is every document of a collection that is held out, and every document that contains half of a held-out one:
    `LEAK` of its distinct word 5-grams, which the column `contained` of documents has.
    """
    return _remembered(hash_parts(_key(view), "evaluated"), lambda: _without_held_out(view))


def _key(view: View) -> str:
    version = view.release.versions.get("suffixes", 0)
    return hash_parts("suffixes", view.path, view.release.name, view.release.run, version)


def _remembered(key: str, make: Callable[[], SuffixIndex]) -> SuffixIndex:
    index = _indexes.pop(key, None)
    _indexes[key] = index = make() if index is None else index
    while len(_indexes) > _REMEMBERED:
        _indexes.popitem(last=False)
    return index


def _condition(view: View, where: Where) -> str | None:
    """``where`` as SQL over documents; None where nothing is asked."""
    conditions = Conditions.of(where)
    strange = sorted({name for name, _ in conditions.named} - set(OF_DOCUMENTS))
    if strange:
        raise QueryError(
            f"The suffix index knows documents, and {strange[0]} is not the same throughout one; give tenant, source, "
            "collection, session or document, or SQL over the columns of documents."
        )
    texts = replace(conditions, named=())
    return all_of(conditions.of_documents(), texts.sql(view.dataset("documents").schema, "documents"))


def _shards(view: View) -> list[Shard]:
    snapshot = view.dataset("suffixes")
    first = snapshot.table(["shard", "width", "size"], "part = 0").sort_by("shard")
    names = first["shard"].to_pylist()

    def load(name: str, whole: bool = True) -> Shard:
        columns = [column for column in SUFFIXES.names if whole or column not in ARRAYS]
        with fitting(view, "The shards of the suffix index"):
            return shard_of(snapshot.table(columns, f"shard = {quoted(name)}"))

    if not all(_NAME.fullmatch(name) for name in names):
        raise BankError(f"{view.path} has a shard of the suffix index with a name that is no hash. {ADVICE}")
    if int((first["size"].to_numpy() * (first["width"].to_numpy() + 4)).sum()) <= IN_MEMORY:
        return [load(name) for name in names]
    return mapped_shards(view.path, _key(view), names, load)


def _narrowed(view: View, sql: str) -> SuffixIndex:
    """The index of the documents that satisfy ``sql``: a document of another tenant is in no shard of it."""
    documents = view.table("documents", ["id"], sql)["id"].combine_chunks()
    return index_of(view).of_documents(lambda shard: _among(shard.documents, documents))


def _without_held_out(view: View) -> SuffixIndex:
    snapshot = view.dataset("documents")
    rules = []
    if "split" in snapshot.schema.names:
        rules.append(one_of("split", HELD_OUT))
        collections = view.table("documents", ["collection"], "split LIKE '%-collection'")["collection"]
        rules.append(one_of("collection", sorted(collections.unique().to_pylist())))
    if "contained" in snapshot.schema.names:
        rules.append(f"contained >= {LEAK}")
    left_out = view.table("documents", ["id"], " OR ".join(rules) or "false")["id"].combine_chunks()
    return index_of(view).of_documents(lambda shard: ~_among(shard.documents, left_out))


def _among(documents: pa.Array, chosen: pa.Array) -> NDArray[np.bool_]:
    return pc.is_in(documents, value_set=chosen).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
