"""What a source gives, without personal data: texts, turns, locators, reasons, and all that is stated beside them."""

from __future__ import annotations

import itertools
from dataclasses import replace

from operators.pii.masking import Masking
from pipelines.sources.contracts import Document, Reject

_STATED = ("locator", "collection", "tenant", "session", "speaker")


def masked(result: Document | Reject, masking: Masking) -> Document | Reject:
    """``result`` as it may enter the bank.

    The text is cut at the ends of turns before anything is looked for, so no span crosses one, and turns move with it.
    """
    if isinstance(result, Reject):
        locator, reason = masking.texts([result.locator, result.reason])
        return replace(result, locator=locator, reason=reason)
    text, size = result.text, len(result.text)
    bounds = sorted({0, size, *(min(max(end, 0), size) for turn in result.turns for end in (turn.start, turn.end))})
    pieces = [text[first:last] for first, last in itertools.pairwise(bounds)]
    named = [name for turn in result.turns for name in (turn.id, turn.speaker)]
    outcome = masking.texts([*pieces, *named, *(getattr(result, name) for name in _STATED)])
    cut, names, stated = outcome[: len(pieces)], outcome[len(pieces) : -len(_STATED)], outcome[-len(_STATED) :]
    places, length = {0: 0}, 0
    for bound, piece in zip(bounds[1:], cut, strict=True):
        length += len(piece)
        places[bound] = length
    turns = tuple(
        replace(
            turn,
            id=names[2 * number],
            speaker=names[2 * number + 1],
            start=places[min(max(turn.start, 0), size)],
            end=places[min(max(turn.end, 0), size)],
        )
        for number, turn in enumerate(result.turns)
    )
    metadata = {name: masking.value(value) for name, value in result.metadata.items()}
    locator, collection, tenant, session, speaker = stated
    return replace(
        result,
        locator=locator,
        text="".join(cut),
        collection=collection,
        tenant=tenant,
        session=session,
        speaker=speaker,
        turns=turns,
        metadata=metadata,
    )
