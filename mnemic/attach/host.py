"""One model that memories enter: at its output, in its feed-forward layers, in its cache, and in its prompt.

Nothing here is a module, so memories are neither saved with the model nor among its parameters; a deep copy of the
model has a copy of them, and answers independently. Hooks are on the model only while an entry needs them.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.attach.cache import Always, Prefix, Prefixes
from mnemic.attach.drafts import Drafter, Drafting, Drafts
from mnemic.attach.entry import Entry
from mnemic.attach.feedforward import Beside, Groups, Path, Projections, widened
from mnemic.attach.generation import Generate, Prompt, Running
from mnemic.attach.output.mixture import Mixture, checked_skip
from mnemic.attach.output.passing import Arguments, Tapped, cache_of
from mnemic.attach.prompt import PromptContexts, Render
from mnemic.errors import ModelError
from mnemic.threads import survive_forks

if TYPE_CHECKING:
    import torch

    from mnemic.attach.output.reading import ContextMemory, HiddenMemory, TextMemory
    from mnemic.attach.output.schedules import Schedule

__all__ = ["Entry", "Host"]

_ATTRIBUTE = "_mnemic_host"
_MARK = "_mnemic_prompt"  # of a cache: the prompt that it began with


class Host:
    """A model (a transformers causal model) that memories enter; `of` gives the one of a model.

    Every place returns an `Entry`; closing it takes away what was entered. Entries combine freely and close in any
    order. `close` takes all away and leaves the model as it was.
    """

    def __init__(self, model: Any) -> None:
        if not hasattr(model, "get_output_embeddings") or not hasattr(model, "config"):
            raise ModelError(
                f"A memory is attached to a loaded transformers causal model, not to {type(model).__name__}; "
                "`mnemic.languagemodel.load` gives one."
            )
        survive_forks()
        self.model = model
        parameters = inspect.signature(model.forward).parameters.values()
        self.names = [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]
        self.running = Running()
        self.mixture = Mixture(self.settle)
        self.prefixes = Prefixes(model, self.settle)
        self.contexts = PromptContexts(self.settle)
        self.drafts = Drafts(model, self.running, self.settle)
        self.attached = Entry()  # by `mnemic.memories.entering`, which replaces it as a whole
        self._beside: list[Tapped | Beside] = []
        self._hooks: dict[str, Any] = {}

    @classmethod
    def of(cls, model: Any) -> Host:
        """The host of ``model``, made where there is none. Raises `ModelError` for anything but a causal model."""
        if not cls.hosts(model):
            setattr(model, _ATTRIBUTE, cls(model))
        host: Host = getattr(model, _ATTRIBUTE)
        return host

    @classmethod
    def hosts(cls, model: Any) -> bool:
        """Whether ``model`` has a host."""
        return _ATTRIBUTE in getattr(model, "__dict__", {})

    @property
    def blocks(self) -> Any:
        """The decoder blocks, in order. Raises `ModelError` for a family that is laid out otherwise."""
        return languagemodel.blocks(self.model)

    @property
    def skip(self) -> float | None:
        """Probability of the model's best token from which on memories at the output are not asked; None: never."""
        return self.mixture.skip

    @skip.setter
    def skip(self, skip: float | None) -> None:
        self.mixture.skip = checked_skip(skip)

    @property
    def idle(self) -> bool:
        """Whether nothing has entered the model."""
        entries = (self.mixture.entries, self.prefixes.entries, self.contexts.entries, self.drafts.entries)
        return not (any(entries) or self._beside)

    def lock(self, tokenizer: Any | None = None) -> Mapping[str, str]:
        """`languagemodel.lock` of the model: what a memory remembers of the one that it was made for."""
        return languagemodel.lock(self.model, tokenizer)

    def tap(self, layer: int) -> Tapped:
        """Keep the input of block ``layer``'s feed-forward layer in every pass: `Tapped.hidden`."""
        self._open()
        entry = Tapped(self, layer, self._block(layer).mlp)
        self._beside.append(entry)
        return entry

    def mix(
        self,
        memory: HiddenMemory | TextMemory | ContextMemory,
        weight: float | Schedule,
        *,
        layer: int | None = None,
    ) -> Entry:
        """The output: p = (1 - sum of weights) p_model + sum of weight p_memory.

        ``layer`` is the block whose feed-forward input a memory of hidden vectors reads, None for the last. Weight 0
        leaves the model as it is, bit for bit. Raises `ModelError` where the weights sum to more than 1, or the memory
        says tokens that the model does not have.
        """
        self._open()
        ids, size = getattr(memory, "tokens", None), self.model.get_output_embeddings().weight.shape[0]
        if ids is not None and len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < size:
            raise ModelError(
                f"The memory says tokens from {int(ids.min())} to {int(ids.max())} and the model has {size}; attach it "
                "to the model that it was made for."
            )
        return self.mixture.add(self.blocks, memory, weight, layer)

    def widen(
        self,
        layer: int,
        up: torch.Tensor,
        gate: torch.Tensor | None,
        down: torch.Tensor,
        *,
        groups: Groups | None = None,
    ) -> Entry:
        """A feed-forward layer: rows added to its up, gate and down projections.

        Each is [r, hidden] for every text, or [groups, r, hidden]; ``gate`` is None in families without one.
        ``groups`` are the group of each row of the batch, int64 [batch] (-1: none), or a function of the `Prompt` that
        gives them; by default each row has the group in its place. Rows follow the model's device and dtype. ``down``
        of zeros leaves the model as it is, bit for bit. Raises `ModelError` where shapes do not fit.
        """
        block = self._block(layer)
        return self._add(block.mlp, widened(block, up, gate, down, groups, self.prompt))

    def beside(self, layer: int, path: Path, *, projection: str | None = None) -> Entry:
        """A feed-forward layer: ``path`` reads its input, and what it gives is added to its output.

        Both are [batch, positions, hidden]. With a ``projection`` ("up", "gate" or "down") they are its own: the inner
        side is [batch, positions, inner].
        """
        block = self._block(layer)
        return self._add(getattr(Projections.of(block), projection) if projection else block.mlp, path)

    def prefix(
        self,
        keys: Sequence[torch.Tensor] | torch.Tensor,
        values: Sequence[torch.Tensor] | torch.Tensor,
        *,
        mask: torch.Tensor | None = None,
        places: torch.Tensor | None = None,
        length: torch.Tensor | None = None,
    ) -> Entry:
        """The cache: keys (before rotation) and values of every layer, read before the prompt.

        Each is [rows, heads, n, width] by layer; ``rows`` is 1 for every text, or those of the batch. ``mask``,
        ``places`` and ``length`` are those of `mnemic.attach.cache.Prefix`. A prefix without keys leaves the model as
        it is, bit for bit. Raises `ModelError` for models whose keys are not understood.
        """
        self._open()
        return self.prefixes.add(Always(Prefix(list(keys), list(values), mask, places, length)))

    def prefix_of(self, choose: Callable[[Prompt], Prefix | None]) -> Entry:
        """The cache: ``choose`` gives the prefix of a prompt, once for each `generate`, or for each cache."""
        self._open()
        return self.prefixes.add(choose)

    def context(self, render: Render, *, tokenizer: Any | None = None) -> Entry:
        """The prompt: what ``render`` gives stands before it in `generate`, which returns ids as if without.

        ``render`` is asked for each row of the batch: with a ``tokenizer`` it gets the row's text and gives text or
        ids, without one it gets ids (int64 [n]) and gives ids. Empty contexts leave the model as it is, bit for bit.
        """
        self._open()
        return self.contexts.add(render, tokenizer)

    def draft(self, drafter: Drafter) -> Entry:
        """Greedy generation: what ``drafter`` proposes is checked by the model, several tokens in one pass.

        The output is the one without. `Drafts.drafted` and `accepted` of ``drafts`` count tokens.
        """
        self._open()
        return self.drafts.add(Drafting(self.drafts, drafter))

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """In the block, passes of this thread are without what entered the feed-forward layers."""
        before, self.running.aside = self.running.aside, True
        try:
            yield
        finally:
            self.running.aside = before

    @property
    def is_aside(self) -> bool:
        return self.running.aside

    def prompt(self) -> Prompt | None:
        """The prompt that the pass of this thread belongs to."""
        return self.running.passing

    def close(self) -> None:
        """Take everything away; the model is as it was."""
        self.mixture.clear()
        for entry in (*self._beside, *self.prefixes.entries, *self.contexts.entries, *self.drafts.entries):
            entry.close()
        if self.model.__dict__.get(_ATTRIBUTE) is self:
            delattr(self.model, _ATTRIBUTE)

    def remove(self, entry: Tapped | Beside) -> None:
        self._beside.remove(entry)
        self.settle()

    def settle(self) -> None:
        """Hang on the model what its entries need now, and nothing else."""
        of_rows = any(isinstance(one, Beside) and getattr(one.path, "own", False) for one in self._beside)
        before = of_rows or bool(self.prefixes.entries)
        self._hang("before", before, self.model.register_forward_pre_hook, self._before)
        self._hang("after", before or bool(self.mixture.entries), self.model.register_forward_hook, self._after)
        generates = before or self.mixture.scheduled or bool(self.contexts.entries or self.drafts.entries)
        present = self.model.__dict__.get("generate")
        if generates and not isinstance(present, Generate):
            self.model.generate = Generate(self.model, self.running, self.contexts, self.drafts, present)
        elif isinstance(present, Generate) and not generates:
            del self.model.generate
            if present.own is not None:
                self.model.generate = present.own

    def _open(self) -> None:
        """Be the model's host again after `close`. Raises `ModelError` where it has got another since."""
        if self.model.__dict__.setdefault(_ATTRIBUTE, self) is not self:
            raise ModelError("This host was closed and its model has another by now; `Host.of` gives that one.")

    def _hang(self, name: str, needed: bool, register: Callable[..., Any], hook: Callable[..., Any]) -> None:
        if needed and name not in self._hooks:
            self._hooks[name] = register(hook, with_kwargs=True)
        elif not needed and name in self._hooks:
            self._hooks.pop(name).remove()

    def _add(self, module: Any, path: Path) -> Entry:
        self._open()
        entry = Beside(self, module, path)
        self._beside.append(entry)
        self.settle()
        return entry

    def _block(self, layer: int) -> Any:
        blocks = self.blocks
        if not 0 <= layer < len(blocks):
            raise ModelError(f"The model has {len(blocks)} blocks and no block {layer}; give one of its layers.")
        return blocks[layer]

    def _before(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The hook before the model: which prompt the pass belongs to, and its prefixes."""
        call = Arguments.of(self.names, args, kwargs)
        self.running.passing = prompt = self._began(call)
        if not self.prefixes.entries:
            return None
        longer = self.prefixes.before(call, prompt)
        return None if longer is None else ((), longer)

    def _began(self, call: Arguments) -> Prompt:
        """The prompt of a pass: that of its cache where this holds something, else of `generate`, else its own text."""
        cache = call.named.get("past_key_values")
        if cache is None or not int(cache.get_seq_length()):
            return self.running.prompt or Prompt.of(call.named)
        prompt: Prompt | None = getattr(cache, _MARK, None)
        if self.prefixes.entries and (prompt is None or prompt.prefixes != self.prefixes.numbers):
            raise ModelError(
                "The model's cache was filled behind other prefixes than those that are there now, or behind none; "
                "begin with an empty cache and the whole text."
            )
        return prompt or self.running.prompt or Prompt.of(call.named)

    def _after(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """The hook on the model's output: its cache without the prefixes, and the mixture."""
        call = Arguments.of(self.names, args, kwargs)
        if "before" in self._hooks:
            call, output = self.prefixes.after(call, output)
            cache = cache_of(output)
            if cache is not None and self.running.passing is not None:
                self.running.passing.prefixes = self.prefixes.numbers
                setattr(cache, _MARK, self.running.passing)
            self.running.passing = None
        if not self.mixture.entries:
            return output
        prompt = self.running.prompt
        return self.mixture.answer(model, call, output, None if prompt is None else prompt.width)
