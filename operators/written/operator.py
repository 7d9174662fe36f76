"""The section `written`: which language model is asked, within which limits, and whether a reply will do.

What a model is asked is a function of a pack, the prompt and the model alone, and so is the key of the call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from mnemic.ids import hash_parts
from mnemic.notes.datasets import CALLS_SPEC
from mnemic.writing.contracts import Reply, WritingModel, WritingRequest
from mnemic.writing.json_text import Malformed, read_json
from operators.contracts import Resources, bounds, refuse
from operators.sections import Driven, Section
from operators.written.presets import preset_fault, wants_relations
from operators.written.prompts import FACTS, SUMMARY, WrittenPrompt
from operators.written.triples import TRIPLES

Verdict = Literal["good", "bad", "cut"]

LONGEST_ANSWER = 1 << 16
"""Characters of a bad answer that are stored."""

ATTEMPTS = 2
"""A bad answer is asked for once more, with its fault named."""

_LIMITS = ("calls", "tokens", "money")
_PRICES = ("prompt", "answer")
_FORMS = ("auto", "json_schema", "json_object", "plain")


def _aside(default: Any) -> Any:
    """A setting that changes no answer, and enters no fingerprint."""
    return field(default=default, compare=False, metadata={"identity": False})


def _mapping() -> Any:
    return field(default_factory=dict, compare=False, metadata={"identity": False})


@dataclass(frozen=True)
class WrittenMemory:
    """Asks a language model about packs.

    Which model: ``server``, the address of an OpenAI-compatible server (such as http://127.0.0.1:8080/v1), with the
    ``name`` of a model there, and a ``revision`` of your own that says which version it is; or ``model``, a model that
    this machine loads, with its ``dtype`` (default float32). ``key_variable``: environment variable with the server's
    key, default none. ``max_tokens``: tokens of an answer, default 1,024.

    Limits: ``concurrent`` requests at once, default 4; ``requests_per_minute`` and ``tokens_per_minute``, default none;
    ``timeout`` of a request in seconds, default 300; ``budget``: most that the bank may have spent in all, any of
    {calls, tokens, money}, default none; ``price``: {prompt, answer} of a million tokens, for money, default 0.
    ``form``: how the server is asked for JSON (json_schema, json_object, plain), default auto. ``preset``: settings of
    `packs`, `notes`, `relations` and `excerpts` by a published system (`operators.written.presets`), default none.
    ``summaries``: also ask for a summary of each pack, default false. ``relations``: also ask for the relations that it
    states, default false, and true under a preset that wants them.
    """

    server: str = _aside("")
    name: str = ""
    revision: str = ""
    model: str | None = field(default=None, metadata={"model": True})
    dtype: str = "float32"
    key_variable: str = _aside("")
    max_tokens: int = 1024
    concurrent: int = _aside(4)
    requests_per_minute: int = _aside(0)
    tokens_per_minute: int = _aside(0)
    timeout: float = _aside(300.0)
    budget: Mapping[str, float] = _mapping()
    price: Mapping[str, float] = _mapping()
    form: str = _aside("auto")
    preset: str = _aside("")
    summaries: bool = _aside(False)
    relations: bool | None = _aside(None)
    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=2 << 30)

    def __post_init__(self) -> None:
        rules = (
            ("max_tokens", 16 <= self.max_tokens <= 100_000, "16 to 100,000"),
            ("concurrent", 1 <= self.concurrent <= 256, "1 to 256"),
            ("requests_per_minute", self.requests_per_minute >= 0, "0 for no limit, or more"),
            ("tokens_per_minute", self.tokens_per_minute >= 0, "0 for no limit, or more"),
            ("timeout", 0 < self.timeout <= 86_400, "seconds above 0, at most a day"),
            ("dtype", self.dtype in ("float32", "bfloat16"), "float32 or bfloat16"),
            ("form", self.form in _FORMS, ", ".join(_FORMS)),
        )
        refuse(
            [
                *bounds(self, "`{name}` of written is {value!r}; give {bound}.", rules),
                self._model_fault(),
                _key_fault(self.key_variable),
                preset_fault(self.preset),
                _amounts_fault("budget", self.budget, _LIMITS),
                _amounts_fault("price", self.price, _PRICES),
                "`budget` limits money, and `price` names none; add `price: {prompt: 0.15, answer: 0.6}`."
                if "money" in self.budget and not any(self.price.values())
                else "",
            ]
        )

    def _model_fault(self) -> str:
        if bool(self.server) == (self.model is not None):
            return (
                "`written` needs one language model: `server: http://127.0.0.1:8080/v1` with the `name` of a model "
                "there, or `model`, the address of one that this machine loads."
            )
        if self.server and not self.name:
            return "`written` does not name the model that the server is to use; add `name`."
        return ""

    @property
    def prompts(self) -> tuple[WrittenPrompt, ...]:
        every = ((FACTS, True), (SUMMARY, self.summaries), (TRIPLES, self.asks_relations))
        return tuple(prompt for prompt, there in every if there)

    @property
    def asks_relations(self) -> bool:
        return wants_relations(self.preset) if self.relations is None else self.relations

    @property
    def itself(self) -> WrittenMemory:
        """The settings as a whole, for another section that asks the same model."""
        return self

    def open_model(self, weights: str, device: str) -> WritingModel:
        """The language model. ``weights`` is the hash of a local one's files."""
        if self.model is not None:
            from mnemic.writing.local import LocalModel

            return LocalModel(self.model, weights, self.dtype, device)
        from mnemic.writing.pace import Pace
        from mnemic.writing.served import ServedModel

        pace = Pace(self.requests_per_minute, self.tokens_per_minute)
        return ServedModel(
            self.server,
            self.name,
            self.revision,
            self.key_variable,
            self.concurrent,
            self.timeout,
            self.form,
            pace,
        )

    def request(
        self,
        prompt: WrittenPrompt,
        units: Sequence[Mapping[str, Any]],
        context: Sequence[Mapping[str, Any]],
        fault: str = "",
    ) -> WritingRequest:
        return WritingRequest(prompt.system, prompt.content(units, context, fault), prompt.schema, self.max_tokens)

    def cost(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Money for these tokens, by the recipe's prices."""
        price = self.price
        return (prompt_tokens * price.get("prompt", 0.0) + answer_tokens * price.get("answer", 0.0)) / 1e6


def key_of(identity: str, prompt: WrittenPrompt, request: WritingRequest, attempt: int) -> str:
    """The key of a call: a hash of the model and of all that it is sent. A paid answer of this key is good anywhere."""
    schema = json.dumps(request.schema, sort_keys=True)
    return hash_parts(
        "call", identity, prompt.name, request.system, request.content, schema, request.max_tokens, attempt
    )


def judge(reply: Reply, prompt: WrittenPrompt, units: Sequence[Mapping[str, Any]]) -> tuple[Verdict, str]:
    """Whether a reply is an answer of the prompt's schema that cites units it was given; why not, as a phrase."""
    if reply.ended == "length":
        return "cut", "the answer ran out of tokens"
    if reply.ended == "refused":
        return "bad", "the model would not answer"
    if reply.ended == "oversized":
        return "bad", "the answer is too large, or the prompt is"
    if reply.ended == "malformed":
        return "bad", "the server's response is none of its protocol"
    try:
        answer = read_json(reply.text, prompt.schema)
    except Malformed as error:
        return "bad", str(error)
    numbers = {unit["n"] for unit in units}
    items = prompt.items(answer)
    if items and not any(numbers.intersection(item["n"]) for item in items):
        return "bad", f"no {prompt.item} cites a unit that was asked about"  # else a step rejects those that do not
    return "good", ""


def _key_fault(variable: str) -> str:
    """Does not quote what is given: it may be the key itself."""
    if not variable or (isinstance(variable, str) and re.fullmatch(r"[A-Z_][A-Z0-9_]{0,99}", variable)):
        return ""
    return "`key_variable` is no name of an environment variable, such as MODEL_KEY. The key itself never stands here."


def _amounts_fault(name: str, amounts: Mapping[str, float], names: Sequence[str]) -> str:
    if not isinstance(amounts, Mapping):
        return f"`{name}` is no mapping; write `{name}: {{{names[0]}: 100}}`."
    for key, amount in amounts.items():
        if key not in names:
            return f"`{name}` has no {str(key)[:40]!r}; it has {', '.join(names)}."
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < 1e15:
            return f"`{name}.{key}` is no amount; give a number from 0 on."
    return ""


SECTION = Section(
    "written",
    WrittenMemory,
    Driven("pipelines.steps.calls:CallsStep", after=("packs",), datasets=(CALLS_SPEC,)),
    step_name="calls",
)
