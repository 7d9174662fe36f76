"""A language model that this process runs: our loader, and greedy decoding that a JSON schema constrains.

llguidance says of each state of the schema's grammar which tokens may come next; the likeliest of them is taken. So the
answer is JSON of the schema whatever the model would rather say, unless it runs out of tokens. Valid JSON is no truth:
of what a model of 135 million parameters writes under a grammar, most is not in its source.
"""

from __future__ import annotations

import json
import time
from typing import Any

from mnemic.errors import MissingExtra, ModelError
from mnemic.languagemodel.load import shared
from mnemic.writing.contracts import Reply, WritingRequest


class LocalModel:
    """The model at ``address``. ``weights`` is the hash of its files, its identity."""

    concurrent = 1

    def __init__(self, address: str, weights: str, dtype: str = "auto", device: str = "cpu") -> None:
        self.identity = f"local:{weights}"
        self._guidance = _guidance()
        self._model, self._tokenizer = shared(address, dtype, device)
        self._device = device
        try:
            self._grammar_tokenizer = self._guidance.hf.from_tokenizer(self._tokenizer)
        except Exception as error:
            raise ModelError(
                f"The tokenizer of {address!r} cannot be constrained to a schema ({str(error)[:100]}); give a model "
                "with a fast tokenizer, or a `server`."
            ) from error

    def close(self) -> None:
        """Nothing is under way between two calls."""

    def ask(self, request: WritingRequest) -> Reply:
        import torch

        started = time.monotonic()
        prompt = self._prompt(request)
        room = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if room is not None and len(prompt) + 1 >= room:
            return Reply("", "oversized", len(prompt), 0, time.monotonic() - started)
        most = request.max_tokens if room is None else min(request.max_tokens, room - len(prompt))
        with torch.inference_mode():
            tokens, finished = self._decode(prompt, request, most)
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return Reply(text, "stop" if finished else "length", len(prompt), len(tokens), time.monotonic() - started)

    def _prompt(self, request: WritingRequest) -> list[int]:
        system = f"{request.system}\nAnswer with JSON of this schema: {json.dumps(request.schema)}"
        messages = [{"role": "system", "content": system}, {"role": "user", "content": request.content}]
        if getattr(self._tokenizer, "chat_template", None):
            text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        else:
            text = f"{system}\n\n{request.content}\n\n"
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens

    def _decode(self, prompt: list[int], request: WritingRequest, most: int) -> tuple[list[int], bool]:
        """The tokens of the answer, and whether it is complete."""
        import torch
        from llguidance.torch import allocate_token_bitmask, apply_token_bitmask_inplace, fill_next_token_bitmask

        grammar = self._guidance.LLMatcher.grammar_from_json_schema(dict(request.schema), defaults=_COMPACT)
        matcher = self._guidance.LLMatcher(self._grammar_tokenizer, grammar)
        mask = allocate_token_bitmask(1, self._grammar_tokenizer.vocab_size)
        read = torch.tensor([prompt], device=self._device)
        tokens: list[int] = []
        cache = None
        while len(tokens) < most:
            output = self._model(input_ids=read, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = output.past_key_values
            logits = output.logits[:, -1].float().cpu()
            fill_next_token_bitmask(matcher, mask)
            apply_token_bitmask_inplace(logits, mask)
            token = int(logits.argmax())
            if not matcher.consume_token(token) or matcher.is_error():
                raise ModelError(f"The grammar of a schema broke ({matcher.get_error()[:100]}); report it.")
            if matcher.is_stopped() and token in self._ends:
                return tokens, True
            tokens.append(token)
            if matcher.is_stopped():
                return tokens, True
            read = torch.tensor([[token]], device=self._device)
        return tokens, bool(matcher.is_accepting())

    @property
    def _ends(self) -> set[int]:
        """Tokens that end an answer."""
        stated = getattr(self._model.generation_config, "eos_token_id", None)
        listed = stated if isinstance(stated, list) else [stated]
        return {token for token in (*listed, self._tokenizer.eos_token_id) if token is not None}


_COMPACT: dict[str, Any] = {"whitespace_flexible": False}
"""No spaces between the parts of the answer: they cost tokens, and small models fall into them."""


def _guidance() -> Any:
    try:
        import llguidance
        import llguidance.hf
    except ImportError as error:
        raise MissingExtra(
            "Writing with a model of this machine needs llguidance: pip install 'mnemic[write]', or give a `server`."
        ) from error
    return llguidance
