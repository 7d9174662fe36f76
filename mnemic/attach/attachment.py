"""Attach memories to the output of a model and take them off again, with the lock of the model that they belong to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.attach.host import Host
from mnemic.attach.output.mixture import checked_skip, reader_of
from mnemic.attach.output.schedules import Schedule, schedules
from mnemic.errors import ModelError

if TYPE_CHECKING:
    from mnemic.attach.output.reading import ContextMemory, HiddenMemory, TextMemory

    Mixable = HiddenMemory | TextMemory | ContextMemory


def attach(
    model: Any,
    memory: Mixable | Sequence[Mixable],
    weight: float | Schedule | Sequence[float | Schedule],
    lock: Mapping[str, str],
    tap_layer: int | Sequence[int | None] | None = None,
    *,
    tokenizer: Any | None = None,
    skip: float | None = None,
) -> Any:
    """Make ``model`` (a transformers causal model) answer with ``memory`` at mixing weight ``weight``; returns it.

    Several memories come as a list, with a list of weights that sum to at most 1 and one of layers. A weight is a
    number or a schedule. ``lock`` is `languagemodel.lock` of the model that the memories were
    made for, ``tap_layer`` the block whose feed-forward input a memory reads, None for the last one; a Memory Decoder
    reads the text. ``skip`` leaves tokens to the model where its own largest probability is at least that. Attaching
    again replaces what was attached; other entries of the model's `Host` stay. Raises `ModelError` where weights or
    tokenizer are others.
    """
    host = Host.of(model)
    memories, weights, layers = _listed(memory), schedules(_listed(weight)), _listed(tap_layer)
    layers = layers * len(memories) if len(layers) == 1 else layers
    if not len(memories) == len(weights) == len(layers):
        raise ModelError(
            f"There are {len(memories)} memories, {len(weights)} weights and {len(layers)} layers; give a list of one "
            "length of each."
        )
    checked_skip(skip)
    verify(lock, host.lock(tokenizer))
    for one, layer in zip(memories, layers, strict=True):
        reader_of(one, layer, len(host.blocks))  # before anything is replaced
    host.mixture.clear()
    for one, of, layer in zip(memories, weights, layers, strict=True):
        host.mix(one, of, layer=layer)
    host.skip = skip
    return model


def detach(model: Any) -> Any:
    """Take everything off again; the model answers as before. Without a memory nothing happens. Returns the model."""
    if Host.hosts(model):
        Host.of(model).close()
    return model


@contextlib.contextmanager
def attached(model: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
    """`attach` within a block, with the same arguments; gives the model. At its end the memories are taken off."""
    try:
        yield attach(model, *args, **kwargs)
    finally:
        host = Host.of(model)
        host.mixture.clear()
        if host.idle:
            host.close()


def verify(expected: Mapping[str, str], actual: Mapping[str, str]) -> None:
    """Raise `ModelError` where a model's lock is not the expected one; what only one of them names is skipped."""
    if expected.get("weights") != actual.get("weights"):
        sizes = [lock.get("vocabulary") for lock in (expected, actual)]
        if sizes[0] != sizes[1] and None not in sizes and expected.get("architecture") == actual.get("architecture"):
            raise ModelError(
                f"The model has a vocabulary of {sizes[1]} tokens and the memory was made for one of {sizes[0]}: its "
                "embeddings were resized (`resize_token_embeddings`), or it is another model. Attach to the model as "
                "the bank's recipe names it, without the new rows; padding needs none: set `tokenizer.pad_token` to a "
                "token that is there. Or build a bank with the resized model."
            )
        raise ModelError(
            "The memory was made for a model with other weights: it knows "
            f"{expected.get('architecture', 'one')} {str(expected.get('weights'))[:12]}, this is "
            f"{actual.get('architecture', 'one')} {str(actual.get('weights'))[:12]}. Load the model that the bank's "
            "recipe names, in bfloat16 or float32, or build a memory for this one."
        )
    changed = (
        languagemodel.difference(expected["function"], actual["function"])
        if _both("function", expected, actual)
        else ""
    )
    if changed:
        raise ModelError(
            "The model has the weights that the memory was made for, but computes something else with them: "
            f"{changed}. Load it with the configuration that the bank was built with, and without changed modules, or "
            "build a memory for this one."
        )
    if _both("tokenizer", expected, actual) and expected["tokenizer"] != actual["tokenizer"]:
        raise ModelError(
            "The model's weights are those that the memory was made for, but its tokenizer is another one, so token "
            "ids mean other text; load the tokenizer from the same place as the model."
        )


def verify_tokenizer(expected: str, tokenizer: Any | None) -> None:
    """Raise `ModelError` where ``tokenizer`` is not the one with the hash ``expected``, or is not known."""
    if tokenizer is None:
        raise ModelError(
            "The memory belongs to a tokenizer and asks nothing else of a model, and this model does not have its own "
            "with it; give `tokenizer=`, or load the model with `mnemic.languagemodel.load`."
        )
    if languagemodel.tokenizer_hash(tokenizer) != expected:
        raise ModelError(
            "The memory was made with another tokenizer, so token ids mean other text; attach it to a model with the "
            "tokenizer of the bank's recipe, or build a bank for this one."
        )


def _both(part: str, expected: Mapping[str, str], actual: Mapping[str, str]) -> bool:
    return part in expected and part in actual


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
