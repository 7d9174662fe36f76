"""Rows of edits, moments and statements that somebody else has written, with hashes that are right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import save_tiny_model

from mnemic import languagemodel
from mnemic.attach.host import Host
from mnemic.errors import ModelError
from mnemic.ids import hash_bytes
from mnemic.memories.edits import StoredEdits
from mnemic.memories.kinds import MemoryInfo
from mnemic.rewrites.moments import factors, packed
from mnemic.rewrites.paths import EditPaths, SidePath
from mnemic.rewrites.solving import SolveSettings, solved
from mnemic.rewrites.statement import SolvableStatement, Statement

CONFIG = {
    **{"method": "memit", "layers": [0, 1], "strength": 10.0, "guard": 0.05, "guarded": 0.4, "rate": 0.001},
    "contexts": ["{}"],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("model")), "float32")[0]


def edit(inward: np.ndarray[Any, Any], outward: np.ndarray[Any, Any], **own: int) -> dict[str, Any]:
    cells = {"inward": inward.astype("<f4").tobytes(), "outward": outward.astype("<f4").tobytes()}
    sizes = {"width": inward.shape[0], "rank": inward.shape[1], "hidden": outward.shape[1]}
    return {"layer": 1, **sizes, **cells, "check": hash_bytes(cells["inward"] + cells["outward"]), **own}


@pytest.mark.parametrize(
    "row",
    [
        edit(np.full((4, 2), np.nan), np.ones((2, 3))),
        edit(np.ones((4, 2)), np.full((2, 3), np.inf)),
        edit(np.ones((4, 1)), np.ones((1, 3)), width=-4, rank=-1, hidden=-3),
        edit(np.ones((4, 0)), np.ones((0, 3)), width=1 << 31, hidden=1 << 31),
    ],
)
def test_a_path_of_no_numbers_or_sizes_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="edit of layer 1"):
        SidePath.of_row(row)


class Paths(StoredEdits):
    """A memory of one path, whatever its bank has."""

    module = EditPaths((SidePath(1, torch.ones(5, 1), torch.ones(1, 7)),))
    settings = SolveSettings.of_config(CONFIG, "edits")


def test_a_path_of_another_model_does_not_enter(model: Any) -> None:
    fields = dict.fromkeys(MemoryInfo.__dataclass_fields__)
    memory = Paths(None, MemoryInfo(**{**fields, "name": "edits", "metrics": {}}))  # type: ignore[arg-type]
    host = Host.of(model)
    with pytest.raises(ModelError, match="layer 1 is of another model"):
        memory.enter(host, 1.0)
    assert not model.model.layers[1].mlp.down_proj._forward_hooks
    host.close()


@pytest.mark.parametrize(
    "own", [{"layers": [1, 0]}, {"layers": [1, 1]}, {"layers": [True]}, {"strength": 0}, {"guard": float("nan")}]
)
def test_settings_that_cannot_be_are_refused(own: dict[str, Any]) -> None:
    SolveSettings.of_config(CONFIG, "edits")
    with pytest.raises(ModelError, match="does not say how"):
        SolveSettings.of_config({**CONFIG, **own}, "edits")


def moments(whole: np.ndarray[Any, Any], **own: int) -> dict[str, Any]:
    cell = packed(whole)
    sizes = {"layer": 1, "part": 0, "width": len(whole), "tokens": 3}
    return {**sizes, "moments": cell, "check": hash_bytes(cell), **own}


def test_moments_of_no_keys_are_refused() -> None:
    for rows in (
        [moments(-np.eye(4))],
        [moments(np.eye(4)), moments(np.eye(3), part=1)],
        [moments(np.eye(4), tokens=-3)],
        [moments(np.eye(1), width=-2)],
        [{**moments(np.eye(4)), "moments": b"abc", "check": hash_bytes(b"abc")}],
    ):
        with pytest.raises(ModelError, match="oments of"):
            factors(rows, [1])


@pytest.mark.parametrize("method", ["memit", "ultraedit"])
def test_values_and_moments_of_another_model_are_refused(model: Any, method: str) -> None:
    settings = SolveSettings.of_config({**CONFIG, "method": method}, "edits")
    width = 32 if method == "memit" else 2 * (64 + 32)
    statement = Statement("a", "{} is", "b")
    right = SolvableStatement(statement, np.ones((1, width), np.float32))
    wrong = SolvableStatement(statement, np.ones((1, width - 1), np.float32))
    few = {layer: torch.eye(5, dtype=torch.float64) for layer in (0, 1)}
    with pytest.raises(ModelError, match="another model"):
        solved(model, None, settings, [right, wrong], lambda layers: few)
    if method == "memit":
        with pytest.raises(ModelError, match="moments of keys are of another"):
            solved(model, None, settings, [right], lambda layers: few)
    else:
        assert [path.rank for path in solved(model, None, settings, [right], lambda layers: few)] == [1, 1]


def test_values_of_broken_numbers_are_refused() -> None:
    columns = Statement("a", "{} is", "b").columns()
    for cell in (b"abc", np.full(2, np.nan, "<f4").tobytes()):
        with pytest.raises(ModelError, match="not what was written"):
            SolvableStatement.of_row({**columns, "rows": 1, "values": cell, "check": hash_bytes(cell)})
