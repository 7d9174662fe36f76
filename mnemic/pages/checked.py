"""Whether keys of a model stand where they are put: tried with a few tokens before any page is attached.

Families of models differ in where their keys are rotated, and in whether that depends on more than the position. The
model reads some tokens, and its own cache says whether keys taken before rotation and rotated here are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from mnemic.errors import ModelError
from mnemic.pages.page import Page
from mnemic.pages.reading import PageReader

MOVED = 37
"""Position to which the tokens are moved for the trial."""

TOLERANCE = {4: 0.35, 8: 0.1, 16: 0.1, 32: 0.1}
"""Distance of a stored page from one that is read anew, as a share of its size, by bits. A pass in another type of
numbers moves keys by a few hundredths; those of another layer or projection are further away than their own size."""


def check_positions(reader: PageReader, ids: Sequence[int]) -> Page:
    """The page of ``ids``, once it is sure that its keys can be moved.

    Keys at the place where they were read must be those of the model's cache bit for bit, and so must those of the
    first layer at another place; deeper ones are never the same elsewhere. Raises `ModelError` otherwise.
    """
    import torch

    reading = reader.read(ids)
    cache, _ = reader.cache([reading.page])
    here = all(torch.equal(layer.keys, live) for layer, live in zip(cache.layers, reading.cached, strict=True))
    moved = reader.read(ids, first=MOVED).cached[0]
    places = torch.arange(MOVED, MOVED + len(ids), device=moved.device)[None]
    keys = reader.rotation(reading.page.keys[:1].to(moved.device, moved.dtype), places)
    learnt = reader.rotation.limit is not None  # positions are added to the input, so no key is the same elsewhere
    if not here or not (learnt or torch.equal(keys, moved)):
        raise ModelError(
            f"Keys of {type(reader.model).__name__} do not stand where they are put: rotated by the model's own code "
            "they are not those of its cache. Pages cannot be attached to this model; give its memories as text."
        )
    return reading.page


def check_page(page: Page, bits: int, live: Page) -> None:
    """Raise `ModelError` where a stored ``page`` is not what the model has ``live`` of the same tokens."""
    for stored, read in ((page.keys, live.keys), (page.values, live.values)):
        now = read.float().cpu()
        if page.places is not None:
            now = now.gather(2, page.places[..., None].expand(-1, -1, -1, now.shape[3]))
        distance = (stored.float() - now).flatten(1).norm(dim=1) / now.flatten(1).norm(dim=1).clamp(min=1e-12)
        if float(distance.max()) > TOLERANCE[bits]:
            raise ModelError(
                f"A page of the bank is not what this model has of the same text: layer {int(distance.argmax())} "
                f"differs by {float(distance.max()):.0%}. Attach the pages to the model that they were written with, "
                "with nothing else inside its layers, or build them again."
            )
