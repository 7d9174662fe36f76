"""The recipe's language model with memories of a bank attached, one answer at a time.

The model is loaded by the first request for it. Memories enter it for the request's release and tenant, and leave it
for the next one that asks for others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from weakref import WeakKeyDictionary

from mnemic import languagemodel
from mnemic.bank import Bank
from mnemic.mixture import WEIGHT_WITHOUT_VALIDATION
from mnemic.serve.access import Access
from mnemic.serve.actions import languagemodel_of
from mnemic.serve.allowed import AllowedMemories
from mnemic.serve.refusals import Refused
from mnemic.terminal import one_line

OWN = "mnemic"
"""The model with the memory that is best for a caller, whatever it is called."""

SECONDS = 120.0
"""For one answer; what is there then is the answer."""
MOST_PROMPT = 4096
"""Tokens of a prompt, where the model itself reads more."""


@dataclass(frozen=True)
class Wording:
    """How an answer is chosen: most ``tokens``, ``temperature`` (0: the likeliest), ``top_p``, ``seed``, ``stop``."""

    tokens: int
    temperature: float
    top_p: float
    seed: int | None
    stop: tuple[str, ...]


@dataclass
class Speech:
    """An answer that is being given. ``hear`` gets each piece; ``stopped`` ends it early."""

    hear: Callable[[str], None]
    stopped: threading.Event = field(default_factory=threading.Event)
    prompt_tokens: int = 0
    tokens: int = 0
    reason: str = "length"


class Speaker:
    """Speaks in one thread at a time; whoever calls `speak` sees to that."""

    def __init__(self) -> None:
        self._loaded: tuple[str, Any, Any] | None = None
        self._attached: tuple[Any, ...] = ()

    def speak(
        self,
        bank: Bank,
        access: Access,
        memories: Sequence[str],
        messages: Sequence[tuple[str, str]],
        wording: Wording,
        speech: Speech,
        began: Callable[[], None],
    ) -> None:
        """Answer ``messages``, (role, text) each. ``began`` is called once nothing can be refused any more."""
        import torch
        from transformers import StoppingCriteriaList

        model, tokenizer = self._model(bank)
        self._attach(bank, access, memories, model, tokenizer)
        ids, stop = _prompt(tokenizer, messages), wording.stop
        if not getattr(tokenizer, "chat_template", None):
            stop = (*stop, "\nuser:")
        most = int(getattr(model.config, "max_position_embeddings", 0) or MOST_PROMPT)
        room = min(most - wording.tokens, MOST_PROMPT)
        if ids.shape[1] > room:
            raise Refused(
                400,
                f"The messages have {ids.shape[1]:,} tokens, and {max(room, 0):,} fit beside max_tokens; send fewer.",
            )
        speech.prompt_tokens = ids.shape[1]
        began()
        writer = _AnswerWriter(tokenizer, stop, speech)
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if wording.temperature > 0:
            sampling = {"do_sample": True, "temperature": wording.temperature, "top_p": wording.top_p, "top_k": 0}
        if wording.seed is not None:
            torch.manual_seed(wording.seed)
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        with torch.inference_mode():
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=wording.tokens,
                pad_token_id=padding,
                streamer=writer,
                stopping_criteria=StoppingCriteriaList([writer.done]),
                **sampling,
            )
        writer.finish(model.generation_config.eos_token_id)

    def _model(self, bank: Bank) -> tuple[Any, Any]:
        address = languagemodel_of(bank)
        if address is None:
            raise Refused(404, "The recipe of this bank names no language model; only its memory can be searched.")
        if self._loaded is None or self._loaded[0] != address:
            self._loaded, self._attached = None, ()
            self._loaded = (address, *languagemodel.load(address))
        return self._loaded[1:]

    def _attach(self, bank: Bank, access: Access, memories: Sequence[str], model: Any, tokenizer: Any) -> None:
        release = bank.release
        key = (release.name, release.run, access.tenant, *memories)
        if key == self._attached:
            return
        from mnemic.attach import detach

        detach(model)
        self._attached = ()
        allowed = allowed_memories(bank, access)
        if memories and allowed.alone:
            bank.attach(model, list(memories), tokenizer=tokenizer, strict=True)
        elif memories:
            where = {"tenant": access.tenant} if memories[0] in allowed.narrowed else None
            # A weight that is tuned on the documents of all would be learnt of theirs.
            weight = WEIGHT_WITHOUT_VALIDATION if where else None
            bank.attach(model, list(memories), weight, tokenizer, where=where, strict=True)
        self._attached = key


def models_of(bank: Bank, access: Access) -> list[str]:
    """Names of the models that a caller may ask for: with its best memory, without any, and with each."""
    address = languagemodel_of(bank)
    if address is None:
        return []
    name = name_of(address)
    return [OWN, name, *(f"{name}+{memory}" for memory in allowed_memories(bank, access).names)]


def memories_of(bank: Bank, access: Access, model: str) -> tuple[str, ...]:
    """The memories that ``model`` stands for. Raises `Refused` for another model, and for memories of others."""
    address = languagemodel_of(bank)
    if address is None:
        raise Refused(404, "The recipe of this bank names no language model; only its memory can be searched.")
    allowed = allowed_memories(bank, access)
    if model == OWN:
        return allowed.names[:1]
    name, *memories = model.split("+")
    if name not in (OWN, name_of(address)):
        raise Refused(
            404, f"There is no model {one_line(model, 60)!r}; there are {', '.join(models_of(bank, access)[:20])}."
        )
    for memory in memories:
        if memory in allowed.others:
            raise Refused(
                403,
                f"The memory {one_line(memory, 40)} is not of your tenant's documents alone, and its weights hold "
                f"the text of all; ask for one of {', '.join(models_of(bank, access)[:20])}.",
            )
        if memory not in allowed.names:
            raise Refused(404, f"There is no memory {one_line(memory, 40)!r}; ask for one that /v1/models lists.")
    if len(set(memories)) < len(memories) or (len(memories) > 1 and not allowed.alone):
        raise Refused(400, "These memories cannot be attached together here; ask for one of them.")
    return tuple(memories)


def name_of(address: str) -> str:
    """The name of a model without its place: "SmolLM2-135M-Instruct.Q4_1"."""
    name = PurePosixPath(address.replace("\\", "/").rstrip("/")).name
    return one_line(name.removesuffix(".gguf").replace("+", "-"), 100) or "model"


def allowed_memories(bank: Bank, access: Access) -> AllowedMemories:
    """`AllowedMemories.of`, computed once a release and tenant."""
    by_tenant = _allowed.setdefault(bank, {})
    if access.tenant not in by_tenant:
        by_tenant[access.tenant] = AllowedMemories.of(bank, access.tenant)
    return by_tenant[access.tenant]


_allowed: WeakKeyDictionary[Bank, dict[str, AllowedMemories]] = WeakKeyDictionary()


def _prompt(tokenizer: Any, messages: Sequence[tuple[str, str]]) -> Any:
    """Ids [1, n] of ``messages``: by the model's own template, else as lines with the roles before them.

    Signs of the template do not count as such in a text, so that none begins a turn of another role.
    """
    import torch

    signs = sorted((sign for sign in tokenizer.all_special_tokens if sign), key=len, reverse=True)
    turns = [{"role": role, "content": _without(signs, text)} for role, text in messages]
    if getattr(tokenizer, "chat_template", None):
        rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    else:
        rendered = "\n".join([*(f"{turn['role']}: {turn['content']}" for turn in turns), "assistant:"])
    ids = tokenizer(rendered, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    return torch.tensor([ids], dtype=torch.int64)


def _without(signs: Sequence[str], text: str) -> str:
    before = ""
    while text != before:  # what is left over may be a sign again
        before = text
        for sign in signs:
            text = text.replace(sign, "")
    return text


class _AnswerWriter:
    """Takes tokens from `generate` and gives whole pieces of text on, up to the first stop."""

    def __init__(self, tokenizer: Any, stop: Sequence[str], speech: Speech) -> None:
        self.tokenizer, self.speech = tokenizer, speech
        self.stop = [one for one in stop if one]
        self.longest = max(map(len, self.stop), default=1)
        self.ids: list[int] = []
        self.text, self.sent = "", 0
        self.prompt, self.ended = True, False
        self.until = time.monotonic() + SECONDS

    def put(self, value: Any) -> None:
        """The prompt, then each token."""
        if self.prompt:
            self.prompt = False
            return
        self.ids += value.reshape(-1).tolist()
        self.speech.tokens = len(self.ids)
        self.text = self.tokenizer.decode(self.ids, skip_special_tokens=True)
        places = [place for one in self.stop if (place := self.text.find(one, max(self.sent - self.longest, 0))) >= 0]
        if places:
            self.text, self.ended, self.speech.reason = self.text[: min(places)], True, "stop"
        elif self.text.endswith("\ufffd"):  # the first bytes of a letter
            return
        self._give(len(self.text) if self.ended else len(self.text) - (self.longest - 1))

    def end(self) -> None:
        """`generate` has no more."""

    def finish(self, ends: Any) -> None:
        """Give what was held back. ``ends``: ids of tokens that end an answer."""
        last = self.ids[-1] if self.ids else None
        if last is not None and last in (ends if isinstance(ends, list) else [ends]):
            self.speech.reason = "stop"
        self._give(len(self.text))

    def done(self, ids: Any, scores: Any, **_: Any) -> Any:
        """Whether it ends here, for each row, as a stopping criterion of transformers."""
        import torch

        over = self.ended or self.speech.stopped.is_set() or time.monotonic() > self.until
        return torch.full((ids.shape[0],), over, dtype=torch.bool, device=ids.device)

    def _give(self, end: int) -> None:
        if end > self.sent:
            self.speech.hear(self.text[self.sent : end])
            self.sent = end
