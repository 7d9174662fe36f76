"""Sums of k k^T are those of the keys that the layer reads, token by token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tiny_models import save_tiny_model

from mnemic import languagemodel
from mnemic.rewrites.moments import unpacked
from operators.rewrites.moment_sums import MomentSums


def test_sums_are_those_of_all_tokens_and_zeros_of_none(tmp_path: Path) -> None:
    model = languagemodel.load(save_tiny_model(tmp_path), "float32")[0]
    documents = [list(range(40, 60)), [], list(range(50, 57))]
    sums, keys = MomentSums(model, (0, 2)), list[torch.Tensor]()
    assert [(row["layer"], row["tokens"]) for row in sums.rows()] == [(0, 0), (2, 0)]
    assert all(not unpacked(row["moments"], row["width"]).any() for row in sums.rows())
    sums.add_all(documents)
    down = model.model.layers[2].mlp.down_proj
    hook = down.register_forward_pre_hook(lambda module, inputs: keys.append(inputs[0][0].double()))
    with torch.inference_mode():
        for ids in filter(None, documents):
            model(input_ids=torch.tensor([ids]))
    hook.remove()
    rows = torch.cat(keys).numpy()
    stored = sums.rows()[1]
    assert stored["tokens"] == 27 and not down._forward_pre_hooks
    np.testing.assert_allclose(unpacked(stored["moments"], stored["width"]), rows.T @ rows, atol=1e-4)
