"""What callers may send: the arguments of each action, with bounds, as models of pydantic.

Their JSON schemas are what the tools of the Model Context Protocol and the OpenAPI page show. No argument names a
tenant: that is the token's to say, and a request with one is refused.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mnemic.serve.refusals import Refused
from mnemic.terminal import one_line

M = TypeVar("M", bound=BaseModel)

LONGEST_TEXT = 100_000
_NAME = Annotated[str, Field(max_length=500)]
_NAMES = Annotated[list[_NAME], Field(min_length=1, max_length=100)]


class CallArguments(BaseModel):
    """Nothing is guessed: names that are not listed and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Narrowing(CallArguments):
    """The documents that are looked at, of the caller's own."""

    source: _NAME | _NAMES | None = Field(None, description="only of this source, or of these")
    collection: _NAME | _NAMES | None = Field(None, description="only of this collection, or of these")
    session: _NAME | _NAMES | None = Field(None, description="only of this session, or of these")

    def named(self) -> dict[str, Any]:
        """The conditions by name that were given."""
        values = {name: getattr(self, name) for name in ("source", "collection", "session")}
        return {name: value for name, value in values.items() if value is not None}


class SearchArguments(Narrowing):
    query: Annotated[str, Field(min_length=1, max_length=4_000)] = Field(description="the question, in any words")
    words: int = Field(500, ge=1, le=20_000, description="words that all texts may have together")
    k: int | None = Field(None, ge=1, le=200, description="events at most")
    level: Literal["session", "event", "turn", "passage"] | None = Field(
        None, description="which rows are searched; by default the smallest"
    )
    speaker: _NAME | _NAMES | None = Field(None, description="only said by this speaker, or by these")
    after: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="only from this time on, as 2026-01-31 or 2026-01-31T09:30"
    )
    before: Annotated[str, Field(max_length=64)] | None = Field(None, description="only before this time")
    where: Annotated[str, Field(max_length=10_000)] | None = Field(
        None, description="a condition in SQL over the columns of events; it can only narrow"
    )

    def named(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in ("speaker", "after", "before")}
        return super().named() | {name: value for name, value in values.items() if value is not None}


class WhyArguments(CallArguments):
    id: Annotated[str, Field(min_length=1, max_length=1_000)] = Field(
        description="id of a document or an event, or a file or locator; a part that is of one alone is enough"
    )


class TraceArguments(Narrowing):
    text: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)] = Field(
        description="the text to trace, such as an answer of a model"
    )
    limit: int = Field(5, ge=0, le=50, description="documents that are named of each span")


class TurnArguments(CallArguments):
    text: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]
    speaker: _NAME | None = Field(None, description="who says it")
    time: Annotated[str, Field(max_length=64)] | None = Field(None, description="when, as ISO 8601")


class RememberArguments(CallArguments):
    text: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)] | None = Field(
        None, description="what is to be remembered, as one text"
    )
    turns: Annotated[list[TurnArguments], Field(min_length=1, max_length=1_000)] | None = Field(
        None, description="or the turns of a conversation, in their order"
    )
    speaker: _NAME | None = Field(None, description="who says the text, or the turns without a speaker of their own")
    time: Annotated[str, Field(max_length=64)] | None = Field(None, description="when it was said, as ISO 8601")
    key: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="the same key again remembers nothing twice"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> RememberArguments:
        if (self.text is None) == (self.turns is None):
            raise ValueError("give either text or turns")
        return self


def read(model: type[M], values: Any) -> M:
    """``values``, parsed JSON, as ``model``. Raises `Refused` with what is wrong in which field."""
    if not isinstance(values, dict):
        raise Refused(400, f"The arguments are a JSON object, got {_kind(values)}; see /docs.")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        parts = []
        for one in error.errors(include_url=False, include_context=False, include_input=False)[:3]:
            place = one_line(".".join(str(step) for step in one["loc"]), 80)
            parts.append(_fault(place, one["type"], one["msg"]))
        raise Refused(400, f"{'; '.join(parts)}. See /docs for the arguments.") from None


def _fault(place: str, kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        more = ", and the token says whose memory is asked" if place == "tenant" else ""
        return f"{place!r} is no argument here{more}"
    text = one_line(message.removeprefix("Value error, "), 200)
    return f"{place}: {text}" if place else text


def parsed(body: bytes) -> Any:
    """The JSON of a request. Raises `Refused` for what is none, names a field twice, or is nested too deep."""
    try:
        return json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise Refused(400, "The JSON of the request is nested too deep; send a flat object.") from None
    except ValueError:
        raise Refused(400, "The body of the request is no JSON in UTF-8; send an object, as /docs shows.") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise Refused(400, "The JSON of the request has a name twice in one object; name each field once.")
    return values


def _no_number(text: str) -> NoReturn:
    raise Refused(400, f"{text} is no number of JSON; send a finite one.")


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")
