"""Rows of `memories` and `metrics` that a training leaves after each epoch, and the end of its checkpoints."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from mnemic.dataset import Store
from mnemic.ids import hash_parts
from mnemic.release import releases
from operators.train import Checkpoint
from pipelines.identity import Record
from pipelines.steps.contracts import Context


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


def forget_versions(store: Store) -> None:
    """Drop the versions of `memories` that hold the bytes of checkpoints. Releases keep their own, by their tags."""
    memories = store["memories"]
    pinned = {release.name: release.versions for release in releases(store)}
    memories.retag({name: versions["memories"] for name, versions in pinned.items() if "memories" in versions})
    memories.forget_before(timedelta(0))


def drop(context: Context, name: str, where: str) -> None:
    """Delete the rows of a dataset that satisfy ``where``, if there are any: without them nothing is committed."""
    dataset = context.store[name]
    there = dataset.snapshot()
    if there is not None and there.count(where):
        context.commit(lambda: dataset.delete(where))
