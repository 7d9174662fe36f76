"""Rows of `memories` and `metrics` that a training leaves after each epoch, how a step reads them, and their end."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pyarrow as pa

from mnemic.dataset import Snapshot, Store
from mnemic.facts import mapping
from mnemic.ids import hash_parts
from mnemic.quoting import parts_of, quoted
from mnemic.release import releases
from mnemic.schema import MEMORIES
from operators.train import Checkpoint
from pipelines.identity import Record
from pipelines.steps.contracts import Context
from pipelines.steps.owners import owned_rows


def create_missing(context: Context, record: Record, schemas: Mapping[str, pa.Schema]) -> None:
    """Create the datasets that are not there, or have other columns."""
    for name, schema in schemas.items():
        dataset = context.store[name]
        there = dataset.snapshot()
        if there is None or there.schema.names != schema.names:
            context.commit(partial(dataset.create, schema, {}, context.properties(record)))


def finished_record(memories: Snapshot | None, step: str, memory: str) -> dict[str, Any] | None:
    """The record of the finished ``memory`` of a step."""
    if memories is None or "record" not in memories.schema.names:
        return None
    rows = memories.table(["record"], f"{owned_rows(memories, step, memory)} AND final")["record"].to_pylist()
    return mapping(rows[-1], f"A record of {memories.uri}") if rows else None


def last_epochs(memories: Snapshot, step: str, memory: str) -> dict[str, int]:
    """By state, the epochs that the last checkpoint has; states without a checkpoint are left out."""
    rows = memories.table(["state", "epoch"], f"{owned_rows(memories, step, memory)} AND NOT final").to_pylist()
    epochs: dict[str, int] = {}
    for row in rows:
        epochs[row["state"]] = max(row["epoch"], epochs.get(row["state"], 0))
    return epochs


def checkpoint_state(memories: Snapshot, state: str, epoch: int) -> bytes:
    """The bytes of the checkpoint that holds for ``state`` after ``epoch`` epochs."""
    where = f"NOT final AND state = {quoted(state)} AND epoch = {epoch}"
    weights: bytes = memories.table(["weights"], where)["weights"][0].as_py()
    return weights


def checkpoint_row(
    memory: str, kind: str, record: Record, state: str, checkpoint: Checkpoint, weights: bytes
) -> dict[str, Any]:
    """Of `memories`: the ``memory`` that ``checkpoint`` has made, not final, with these ``weights``."""
    return {
        "id": hash_parts("checkpoint", state, memory, checkpoint.epoch),
        "name": memory,
        "kind": kind,
        "record": json.dumps(record.as_json(), sort_keys=True),
        "state": state,
        "epoch": checkpoint.epoch,
        "final": False,
        "config": "{}",
        "lock": "{}",
        "metrics": json.dumps(checkpoint.metrics, sort_keys=True),
        "weights": weights,
    }


def final_row(
    memory: str,
    record: Record,
    epoch: int,
    lock: Mapping[str, str],
    config: Mapping[str, Any],
    metrics: Mapping[str, float],
    weights: bytes = b"",
) -> pa.Table:
    """Of `memories`: the finished ``memory``, of the kind that is called so, for the model of ``lock``."""
    named = dict(lock)
    computed = replace(record, found={"function": named.pop("function")})  # no part of a bank's digest
    row = {
        "id": hash_parts("memory", record.state, memory),
        "name": memory,
        "kind": memory,
        "record": json.dumps(computed.as_json(), sort_keys=True),
        "state": record.state,
        "epoch": epoch,
        "final": True,
        "config": json.dumps(config, sort_keys=True),
        "lock": json.dumps(named, sort_keys=True),
        "metrics": json.dumps(metrics, sort_keys=True),
        "weights": weights,
    }
    return pa.Table.from_pylist([row], schema=MEMORIES)


def curve_rows(memory: str, state: str, checkpoint: Checkpoint, job: str = "") -> list[dict[str, Any]]:
    """Of `metrics`: the points of an epoch; with a ``job`` the metrics are called "metric/job"."""
    return [
        {
            "memory": memory,
            "state": state,
            "epoch": checkpoint.epoch,
            "step": point.step,
            "rows": point.rows,
            "metric": f"{point.metric}/{job}" if job else point.metric,
            "value": point.value,
        }
        for point in checkpoint.curve
    ]


def drop_points(context: Context, memory: str, epochs: Mapping[str, int]) -> None:
    """Delete the points of ``memory`` behind the last checkpoint of their state, of which ``epochs`` has the epochs.

    A curve is committed before its checkpoint, so a kill between the two leaves points that the epoch makes again.
    """
    for last in sorted(set(epochs.values())):
        for states in parts_of("state", sorted(state for state, epoch in epochs.items() if epoch == last)):
            drop(context, "metrics", f"memory = '{memory}' AND {states} AND epoch > {last}")


def forget_memory(context: Context, step: str, memory: str, dataset: str) -> None:
    """Delete the ``memory`` of a step, its ``dataset`` and its curves; the memory first, for its row says "done"."""
    memories = context.store["memories"].snapshot()
    if memories is not None:
        drop(context, "memories", owned_rows(memories, step, memory))
    drop(context, dataset, "true")
    drop(context, "metrics", f"memory = '{memory}'")


def forget_versions(store: Store) -> None:
    """Drop the versions of `memories` that hold the bytes of checkpoints. Releases keep their own, by their tags."""
    memories = store["memories"]
    pinned = {release.name: release.versions for release in releases(store)}
    memories.retag({name: versions["memories"] for name, versions in pinned.items() if "memories" in versions})
    memories.forget_before(timedelta(0))


def drop_other_states(context: Context, name: str, states: Collection[str], mine: str = "true") -> None:
    """Delete the rows ``mine`` of a dataset whose `state` is none of ``states``."""
    there = set(context.store[name].require().table(["state"], mine)["state"].to_pylist())
    for gone in parts_of("state", sorted(there.difference(states))):
        drop(context, name, f"({mine}) AND {gone}")


def drop(context: Context, name: str, where: str) -> None:
    """Delete the rows of a dataset that satisfy ``where``, if there are any: without them nothing is committed."""
    dataset = context.store[name]
    there = dataset.snapshot()
    if there is not None and there.count(where):
        context.commit(lambda: dataset.delete(where))
