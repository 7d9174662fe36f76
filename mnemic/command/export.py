"""`mnemic export`."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mnemic.bank import Bank, open_bank
from mnemic.catalogue import CATALOGUE, spec_of
from mnemic.conditions import Conditions, all_of
from mnemic.dataset import Snapshot
from mnemic.errors import QueryError
from mnemic.kept import KEPT
from mnemic.view import readable_condition
from mnemic.whole_file import whole_file

SUMMARY = "kept documents, events or pairs as Parquet or JSON Lines"
EXAMPLES = """  mnemic export memory/notes events events.jsonl
  mnemic export memory/notes documents kept.parquet
  mnemic export memory/notes pairs - --where "verdict = 'duplicate'" | head"""

INTERNAL = ("signature", "normalised", "item", "vector", "embedding")
"""Columns that only mnemic itself reads; --all exports them too, and lists of numbers of one length: vectors."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bank", metavar="BANK", help="folder of the bank, or s3://bucket/bank")
    parser.add_argument("dataset", metavar="DATASET", help=f"{', '.join(_own())}, or a dataset of another package")
    parser.add_argument("file", metavar="FILE", help="FILE.parquet or FILE.jsonl; - prints JSON Lines")
    parser.add_argument("--where", help="SQL condition over the dataset's columns")
    parser.add_argument("--duplicates", action="store_true", help="documents: also those that were dropped")
    parser.add_argument("--all", action="store_true", help="also vectors and signatures")
    parser.add_argument("--release", help="a release other than the newest")


def run(arguments: argparse.Namespace) -> int:
    snapshot = _snapshot(open_bank(arguments.bank, arguments.release), arguments.dataset)
    columns = [field.name for field in snapshot.schema if arguments.all or _is_for_people(field)]
    only = KEPT if arguments.dataset == "documents" and not arguments.duplicates else None
    where = all_of(Conditions.of(arguments.where).sql(snapshot.schema, arguments.dataset), only)
    if arguments.file == "-":
        with readable_condition(where if arguments.where else None, snapshot, arguments.dataset):
            for line in _lines(snapshot, columns, where, ascii_only=sys.stdout.isatty()):
                sys.stdout.write(line)
        return 0
    target = Path(arguments.file)
    if target.suffix not in (".parquet", ".jsonl"):
        print(f"mnemic: {target} should end in .parquet or .jsonl, so that its form is known.", file=sys.stderr)
        return 2
    condition = readable_condition(where if arguments.where else None, snapshot, arguments.dataset)
    with whole_file(target) as partial, condition:
        rows = _write(snapshot, columns, where, partial, target.suffix)
    print(f"{rows:,} rows of {arguments.dataset} written to {target}")
    return 0


def _is_for_people(field: pa.Field) -> bool:
    """Whether a column says something to somebody who reads it: no vector, no signature, no weights."""
    unreadable = (pa.types.is_fixed_size_list, pa.types.is_binary, pa.types.is_large_binary)
    return field.name not in INTERNAL and not any(test(field.type) for test in unreadable)


def _own() -> list[str]:
    return [name for name, spec in CATALOGUE.items() if spec.export]


def _snapshot(bank: Bank, name: str) -> Snapshot:
    """The dataset ``name``, if it is one to export. Raises ``QueryError`` with the names of those that are."""
    exported = [dataset for dataset in bank.release.versions if spec_of(dataset, bank.dataset(dataset).schema).export]
    if name not in exported and name not in _own():
        near = difflib.get_close_matches(name, exported, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise QueryError(
            f"Release {bank.release.name} of {bank.path} exports no dataset {name!r}. {hint}"
            f"Give one of: {', '.join(exported)}."
        )
    return bank.dataset(name)


def _write(snapshot: Snapshot, columns: list[str], where: str | None, target: Path, suffix: str) -> int:
    rows = 0
    if suffix == ".jsonl":
        with target.open("w", encoding="utf-8") as file:
            for line in _lines(snapshot, columns, where):
                file.write(line)
                rows += 1
        return rows
    schema = pa.schema([snapshot.schema.field(name).remove_metadata() for name in columns])
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for batch in snapshot.scan(columns, where):
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
            rows += batch.num_rows
    return rows


def _lines(snapshot: Snapshot, columns: list[str], where: str | None, ascii_only: bool = False) -> Iterator[str]:
    """JSON Lines; in ASCII for a terminal, where control codes and direction marks of a text must do nothing."""
    for batch in snapshot.scan(columns, where):
        for row in batch.to_pylist():
            yield json.dumps(row, ensure_ascii=ascii_only, default=str) + "\n"
