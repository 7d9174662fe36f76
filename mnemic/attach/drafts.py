"""Drafts: continuations that are proposed to the model, which checks several tokens of them in one pass.

That is assisted generation (Leviathan et al., arXiv 2211.17192) with text that was looked up in the place of a smaller
model (REST, arXiv 2311.08252). What the model answers, memories in it too, decides about every token, so the output of
a greedy generation is the one without drafts. Generations that transformers does not assist go on as before: several
texts at once, beams, sampling, and caches of a fixed size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mnemic.arrays import Integers
from mnemic.attach.entry import Entry
from mnemic.attach.generation import Running, setting

if TYPE_CHECKING:
    import torch

MOST = 16
"""Tokens of a draft."""

_FIRST = 6
_ELSEWHERE = (
    "assistant_model",
    "assistant_early_exit",
    "constraints",
    "custom_generate",
    "dola_layers",
    "force_words_ids",
    "inputs_embeds",
    "past_key_values",
    "penalty_alpha",
    "prompt_lookup_num_tokens",
    "use_mtp",
)
"""Settings of `generate` that ask for something else, or for another kind of draft."""

_CACHES = (None, "dynamic")


class Drafter(Protocol):
    """Proposes how a text goes on: `mnemic.suffixes.drafts.SuffixDrafts`."""

    def draft(self, ids: Integers, most: int) -> Integers:
        """Up to ``most`` tokens after the text ``ids`` int64 [n]; none where it has no idea."""


class Drafts:
    """The drafters of a model; the first one that proposes something is followed.

    ``drafted`` and ``accepted`` count tokens since one entered.
    """

    def __init__(self, model: Any, running: Running, settle: Callable[[], None]) -> None:
        self.model, self.running, self.settle = model, running, settle
        self.entries: list[Drafting] = []
        self.drafted = self.accepted = 0

    def add(self, entry: Drafting) -> Entry:
        if not self.entries:
            self.drafted = self.accepted = 0
        self.entries.append(entry)
        self.model._get_candidate_generator = self
        self.settle()
        return entry

    def remove(self, entry: Drafting) -> None:
        self.entries.remove(entry)
        if not self.entries and self.model.__dict__.get("_get_candidate_generator") is self:
            del self.model._get_candidate_generator
        self.settle()

    def __call__(self, generation_config: Any, input_ids: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """In the place of the model's `_get_candidate_generator`."""
        if self.running.drafting:
            end = getattr(generation_config, "_eos_token_tensor", None)
            ends = [] if end is None else end.reshape(-1).tolist()
            vocabulary = int(self.model.get_output_embeddings().weight.shape[0])
            return DraftCandidates(self, vocabulary, ends, generation_config.max_length)
        return type(self.model)._get_candidate_generator(self.model, generation_config, input_ids, *args, **kwargs)

    @contextmanager
    def offered(self, call: Mapping[str, Any], batch: int) -> Iterator[dict[str, Any]]:
        """The settings that make `generate` ask for drafts, while the block runs; none where it would not."""
        before = self.running.drafting
        self.running.drafting = bool(self.entries) and batch == 1 and _is_greedy(self.model, call)
        try:
            yield {"prompt_lookup_num_tokens": MOST} if self.running.drafting else {}
        finally:
            self.running.drafting = before


class Drafting(Entry):
    """A drafter in a model."""

    def __init__(self, place: Drafts, drafter: Drafter) -> None:
        super().__init__(place)
        self.drafter = drafter


class DraftCandidates:
    """The drafts of one generation: `CandidateGenerator` of transformers.

    Each is at most as long as those before were right: twice as long after one that was right throughout.
    """

    requires_model_outputs = False

    def __init__(self, drafts: Drafts, vocabulary: int, ends: Sequence[int], longest: int) -> None:
        self.drafts, self.vocabulary, self.ends, self.longest = drafts, vocabulary, ends, longest
        self.size, self.drafted = _FIRST, 0

    def get_candidates(self, input_ids: torch.Tensor, **_: Any) -> tuple[torch.Tensor, None]:
        """``input_ids`` [1, n] with a draft behind them."""
        import torch

        ids = input_ids[0].cpu().numpy().astype(np.int64)
        draft = self._draft(ids, min(self.size, self.longest - len(ids) - 1))
        self.drafted = len(draft)
        if not self.drafted:
            return input_ids, None
        return torch.cat([input_ids, torch.from_numpy(draft).to(input_ids)[None]], dim=1), None

    def update_candidate_strategy(self, input_ids: torch.Tensor, scores: torch.Tensor, num_matches: Any) -> None:
        """``num_matches`` tokens of the draft were right."""
        if not self.drafted:
            return
        right = min(int(num_matches), self.drafted)
        self.size = min(2 * self.size, MOST) if right == self.drafted else max(right + 1, 2)
        self.drafts.drafted += self.drafted
        self.drafts.accepted += right

    def _draft(self, ids: Integers, most: int) -> Integers:
        for entry in self.drafts.entries if most > 0 else ():
            draft = entry.drafter.draft(ids, most)
            wrong = np.flatnonzero((draft < 0) | (draft >= self.vocabulary) | np.isin(draft, self.ends))
            draft = draft[: wrong[0]] if len(wrong) else draft
            if len(draft):
                return draft
        return np.empty(0, np.int64)


def _is_greedy(model: Any, call: Mapping[str, Any]) -> bool:
    """Whether `generate` takes the best token of one text each time, and may crop its cache."""
    plain = all(setting(model, call, name) in (None, False) for name in (*_ELSEWHERE, "do_sample"))
    single = all((setting(model, call, name) or 1) == 1 for name in ("num_beams", "num_return_sequences"))
    cached = setting(model, call, "use_cache") is not False and not getattr(model, "_is_stateful", False)
    return plain and single and cached and setting(model, call, "cache_implementation") in _CACHES
