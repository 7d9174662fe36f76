"""Memories into a model, and out of it again: each enters where its kind acts, through the model's `Host`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.attach.attachment import verify, verify_tokenizer
from mnemic.attach.entry import Entries, Entry
from mnemic.attach.host import Host
from mnemic.attach.output.mixture import checked_skip

if TYPE_CHECKING:
    from mnemic.attach.output.schedules import Schedule
    from mnemic.memories.kinds import Memory


class Entered(Entries):
    """The entries of ``memories`` at ``weights``, with what it takes to make them again."""

    def __init__(self, host: Host, memories: Sequence[Memory], weights: Sequence[float | Schedule]) -> None:
        super().__init__(())
        self.memories, self.weights = list(memories), list(weights)
        try:
            for memory, weight in zip(memories, weights, strict=True):
                self.entries.append(memory.enter(host, weight))
        except BaseException:
            self.close()
            raise


def enter(
    model: Any,
    memories: Sequence[Memory],
    weights: Sequence[float | Schedule],
    lock: Mapping[str, str],
    *,
    tokenizer: Any | None = None,
    skip: float | None = None,
) -> None:
    """Let ``memories`` into ``model`` in the place of those that entered before; other entries of its host stay.

    ``lock`` is that of the model that they need; empty for any. Raises `ModelError` where the model is another one or
    the weights do not fit together; then the memories that were there before stay.
    """
    checked_skip(skip)
    host = Host.of(model)
    try:
        if set(lock) == {"tokenizer"}:
            verify_tokenizer(lock["tokenizer"], tokenizer or languagemodel.tokenizer_of(model))
        elif lock:
            verify(lock, host.lock(tokenizer))
        _replace(host, memories, weights, skip)
    finally:
        if host.idle:
            host.close()


def leave(model: Any) -> None:
    """Take out the memories that entered last, and all that are mixed in; other entries of the model's host stay."""
    if Host.hosts(model):
        host = Host.of(model)
        _clear(host)
        if host.idle:
            host.close()


def _replace(host: Host, memories: Sequence[Memory], weights: Sequence[float | Schedule], skip: float | None) -> None:
    before, skip_before = host.attached, host.skip
    _clear(host)
    try:
        host.attached = Entered(host, memories, weights)
        host.skip = skip
    except BaseException:
        if isinstance(before, Entered):
            host.attached, host.skip = Entered(host, before.memories, before.weights), skip_before
        raise


def _clear(host: Host) -> None:
    host.attached.close()
    host.attached = Entry()
    host.mixture.clear()
