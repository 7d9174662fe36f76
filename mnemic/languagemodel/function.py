"""The function that a model computes with its weights: epsilons, activations, rotary frequencies, scalings, windows,
soft caps.

The modules are asked, not the configuration alone: they hold what is computed, and may have been changed in place.
Facts are compared with the tolerance of bfloat16, and only where both models have them, so that a model is the same in
any dtype and under a later version of transformers, which may name more.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from mnemic.facts import mapping

Facts = dict[str, Any]

_CONFIG = (  # read in each pass, not when the modules are made
    "final_logit_softcapping",
    "attn_logit_softcapping",
    "sliding_window",
    "layer_types",
    "use_bidirectional_attention",
    "rope_parameters",
)
_ACTIVATIONS = ("act_fn", "act", "activation", "activation_fn")
_PROBES = (-3.0, -1.5, -0.7, -0.2, 0.3, 1.1, 2.5, 8.0)
_FREQUENCIES = ("inv_freq", "embed_scale")
_STATE = frozenset(  # attributes that change nothing of what is computed, or are told by the shapes of the weights
    """
    training gradient_checkpointing attention_dropout hidden_dropout p inplace layer_idx padding_idx vocab_size
    num_embeddings embedding_dim in_features out_features nf nx sparse elementwise_affine approximate num_labels
    max_seq_len_cached original_max_seq_len hidden_size intermediate_size embed_dim split_size pruned_heads
    scalar_embed_scale
    """.split()  # noqa: SIM905 - a table is read more easily without quotes
)
_BLOCK = re.compile(r"(.*?)\.(\d+)(?:\.(.*))?")
_TOLERANCE = 0.01  # bfloat16 rounds by a 256th


def function(model: Any) -> str:
    """The facts about ``model`` as JSON, those of equal blocks once."""
    config = model.config.get_text_config()
    facts: Facts = {
        "config": {name: getattr(config, name) for name in _CONFIG if hasattr(config, name)},
        "modules": {},
        "patched": [name for name, module in model.named_modules() if name and _is_patched(module)],
    }
    blocks: dict[int, Facts] = {}
    for name, module in model.named_modules():
        own = _facts(module) if not name.endswith(_ACTIVATIONS) else {}
        place = _BLOCK.fullmatch(name)
        if own and place is None:
            facts["modules"][name] = own
        elif own and place is not None:
            blocks.setdefault(int(place[2]), {})[f"{place[1]}.{place[3] or ''}"] = own
    runs = itertools.groupby(blocks[number] for number in sorted(blocks))
    facts["blocks"] = [[len(list(run)), block] for block, run in runs]
    return json.dumps(facts, sort_keys=True, default=str)


def difference(expected: str, actual: str) -> str:
    """The first fact of two results of `function` that differs, as "name: value and not value"; "" where none does."""
    before, now = (_expanded(mapping(one, "What a memory's lock says of its model")) for one in (expected, actual))
    return next(_differences("", before, now), "")


def _is_patched(module: Any) -> bool:
    """Whether somebody put another `forward` there, other than a compiler or accelerate, which compute the same."""
    own = vars(module).get("forward")
    return own is not None and not hasattr(own, "_torchdynamo_orig_callable") and not hasattr(module, "_hf_hook")


def _facts(module: Any) -> Facts:
    from transformers import PreTrainedModel

    facts: Facts = {}
    if not isinstance(module, PreTrainedModel):
        for name, value in vars(module).items():
            if not name.startswith("_") and name not in _STATE and isinstance(value, bool | int | float | str | None):
                facts[name] = value
    for name in _ACTIVATIONS:
        if callable(getattr(module, name, None)):
            facts[name] = _probed(getattr(module, name))
    for name, buffer in module.named_buffers(recurse=False):
        if name.endswith(_FREQUENCIES) and not name.startswith("original"):
            facts[name] = [float(f"{value:.6g}") for value in buffer.flatten().tolist()]
    if facts.get("rope_type") in ("dynamic", "longrope"):  # they follow the texts that were read
        facts = {name: value for name, value in facts.items() if not name.endswith(_FREQUENCIES)}
    return facts


def _probed(activation: Any) -> list[float] | None:
    """What an activation gives at some places: classes and names of the same function differ between versions."""
    import torch

    try:
        with torch.no_grad():
            return [float(f"{value:.6g}") for value in activation(torch.tensor(_PROBES)).tolist()]
    except Exception:
        return None  # it takes something else than a tensor; then nothing is said of it


def _expanded(facts: Facts) -> Facts:
    return {**facts, "blocks": [block for count, block in facts["blocks"] for _ in range(count)]}


def _differences(name: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() & now.keys()):
            yield from _differences(f"{name} {key}".strip(), before[key], now[key])
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _differences(f"{name} {number}", one, other)
    elif isinstance(before, int | float) and isinstance(now, int | float):
        alike = isinstance(before, bool) == isinstance(now, bool)
        if not alike or not math.isclose(before, now, rel_tol=_TOLERANCE, abs_tol=1e-12):
            yield f"{name} is {now:g} and not {before:g}"
    elif before != now:
        yield f"{name} is {now} and not {before}"
