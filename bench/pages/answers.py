"""Loss of LoCoMo's answers with nothing, with the text that answers, and with pages of it, in nats a token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from bench.pages.questions import Asked
from bench.report import Row, tell
from mnemic.arrays import Floats32
from mnemic.pages.page import Page, page_of
from mnemic.pages.reading import PageReader, page_ids
from operators.pages.scores import REPEAT, drawn, latest, received, repeated
from operators.pages.shrink import Shrink, shrunk, with_ends
from pipelines.evaluate.bootstrap import Interval, document_sums, interval

NOTHING, TEXT, BOTH = "nothing", "text", "both texts"

BOUNDS: dict[str, tuple[str, float, float]] = {
    "int8": ("page_gain_int8", 99.0, 100.0),
    "int4": ("page_gain_int4", 95.0, 98.0),
    "two pages": ("page_two_gain", 92.0, 98.0),
    "kvzip 1/2": ("page_keep_half", 93.0, 96.0),
    "kvzip 1/4": ("page_keep_quarter", 78.0, 88.0),
}
"""Way -> id of its row, and the shares of the text's gain that it must have, and is to reach."""


def whole(reader: PageReader) -> Shrink:
    """The form of pages that hold what the model computes, bit for bit."""
    numbers = str(reader.model.dtype).removeprefix("torch.")
    return Shrink(32 if numbers == "float32" else 16, numbers, 1.0)


@dataclass
class Losses:
    """Losses of the tokens of answers by way, and the question of each."""

    values: dict[str, list[npt.NDArray[np.float64]]] = field(default_factory=dict)

    def add(self, way: str, losses: npt.NDArray[np.float64]) -> None:
        self.values.setdefault(way, []).append(losses)

    def mean(self, way: str) -> float:
        return float(np.concatenate(self.values[way]).mean())

    def share(self, way: str, text: str = TEXT) -> Interval:
        """The share in percent of the gain of ``text`` over nothing that a way has; questions are resampled."""
        owner = np.repeat(np.arange(len(self.values[way])), [len(one) for one in self.values[way]])
        flat = [np.concatenate(self.values[name]) for name in (NOTHING, text, way)]
        sums, draws = document_sums(owner, 1000, 0, *flat)
        total, whole = draws @ sums, sums.sum(0)
        shares = 100 * (total[:, 0] - total[:, 2]) / (total[:, 0] - total[:, 1])
        return interval(float(100 * (whole[0] - whole[2]) / (whole[0] - whole[1])), shares)


class Ways:
    """The pages of a text in every form that is measured."""

    def __init__(self, reader: PageReader, tokenizer: object, sink: Page) -> None:
        self.reader, self.sink, self.whole = reader, sink, whole(reader)
        self.request = tokenizer(REPEAT, add_special_tokens=False)["input_ids"]  # type: ignore[operator]

    def stored(self, page: Page, shrink: Shrink, share: float = 1.0, scores: Floats32 | None = None) -> Page:
        rows = max(1, round(page.tokens * share))
        return page_of({"id": "page", **shrunk(page, rows, scores, shrink)})

    def forms(self, ids: Sequence[int]) -> Mapping[str, Page]:
        reading = self.reader.read(ids, [self.sink], queries=True)
        page, model = reading.page, self.reader.model
        shape = (page.keys.shape[0], page.keys.shape[1], page.tokens)
        scores = {
            "kvzip": repeated(self.reader, ids, page, [self.sink], self.request),
            "memory3": received(model, reading),
            "random": drawn(f"{len(ids):032x}", shape),
            "ends": latest(shape),
        }
        forms = {"page": page, **{f"int{bits}": self.stored(page, Shrink(bits, "", 1.0)) for bits in (8, 4)}}
        for name, own in scores.items():
            for part in (2, 4) if name in ("kvzip", "memory3") else (4,):
                ranked = own if name == "kvzip" else with_ends(own, round(page.tokens / part))
                forms[f"{name} 1/{part}"] = self.stored(page, self.whole, 1 / part, ranked)
        forms["int4, kvzip 1/2"] = self.stored(page, Shrink(4, "", 1.0), 0.5, scores["kvzip"])
        return forms


def answer_losses(ways: Ways, tokenizer: object, items: Sequence[Asked]) -> tuple[Losses, int]:
    """The losses of all answers, and how many tokens their evidence has."""
    losses, tokens, sink, reader = Losses(), 0, ways.sink, ways.reader
    for number, item in enumerate(items, start=1):
        evidence, other = page_ids(tokenizer, [item.evidence, item.other])
        tokens += len(evidence)
        losses_of = partial(_behind, reader, tokenizer, item)
        forms = ways.forms(evidence)
        page, before = forms["page"], reader.read(other, [sink]).page
        losses.add(NOTHING, losses_of())
        losses.add(TEXT, losses_of(sink, page))
        losses.add(BOTH, losses_of(sink, before, reader.read(evidence, [sink, before]).page))
        losses.add("two pages", losses_of(sink, before, page))
        losses.add("two pages, int4", losses_of(sink, ways.stored(before, Shrink(4, "", 1.0)), forms["int4"]))
        for name, form in forms.items():
            if name != "page":
                losses.add(name, losses_of(sink, form))
        if number % 20 == 0:
            so_far = ", ".join(f"{way} {losses.mean(way):.3f}" for way in (NOTHING, TEXT, *BOUNDS))
            tell(f"{number} of {len(items)} questions, nats a token: {so_far}")
    return losses, tokens


def answer_loss(reader: PageReader, tokenizer: object, item: Asked, behind: Sequence[Page]) -> npt.NDArray[np.float64]:
    """Losses of the tokens of the answer to a question, behind pages."""
    question = f"\nQuestion: {item.question}\nAnswer:"
    asking, answer = tokenizer([question, f" {item.answer}"])["input_ids"]  # type: ignore[operator]
    values: npt.NDArray[np.float64] = reader.losses([*asking, *answer], behind).numpy()[len(asking) - 1 :]
    return values


def _behind(reader: PageReader, tokenizer: object, item: Asked, *behind: Page) -> npt.NDArray[np.float64]:
    return answer_loss(reader, tokenizer, item, behind)


def answer_rows(model: object, tokenizer: object, sink: Page, items: Sequence[Asked]) -> list[Row]:
    """The share of the text's gain that each form of its page has."""
    ways = Ways(PageReader(model), tokenizer, sink)
    losses, tokens = answer_losses(ways, tokenizer, items)
    tell(
        f"{len(items)} questions, evidence of {tokens / len(items):.0f} tokens; nats a token, share of the text's gain"
    )
    rows = []
    for way in losses.values:
        share = losses.share(way, BOTH if way.startswith("two pages") else TEXT)
        tell(f"  {way:<20} {losses.mean(way):.3f}  {share.value:5.1f} % ({share.low:.1f} to {share.high:.1f})")
        if way in BOUNDS:
            name, must, goal = BOUNDS[way]
            between = f"{share.low:.1f} to {share.high:.1f}, {len(items)} questions"
            rows.append(Row(name, f"gain of the text that {way} has ({between})", share.value, "%", must, goal))
    return rows
