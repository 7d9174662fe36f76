"""The description of the HTTP server: an OpenAPI document, and one page for people that asks nobody for anything."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from html import escape
from typing import Any

import mnemic
from mnemic.serve.actions import ACTIONS
from mnemic.serve.chat import ChatRequest

CONTENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_REFERENCE = "#/components/schemas/"
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {"message": {"type": "string", "description": "a sentence"}, "type": {"type": "string"}},
        }
    },
}
_STATUS = {
    "400": "the request cannot be answered as it stands",
    "401": "no token, or an unknown one",
    "403": "another origin, or a memory of other tenants",
    "404": "nothing of this name among the caller's own",
    "413": "the body is too large",
    "503": "too many requests at once",
}
_HITS = {
    "type": "object",
    "properties": {
        "release": {"type": "string"},
        "words": {"type": "integer"},
        "text": {"type": "string", "description": "the passages, numbered, for a prompt"},
        "hits": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
    },
}
_EXAMPLES: dict[str, dict[str, Any]] = {
    "search": {"query": "who mended the parser?", "words": 300},
    "why": {"id": "9b02d7e4"},
    "trace": {"text": "the parser was mended on Monday by Ada"},
    "remember": {"text": "Ada mended the parser.", "speaker": "Ben", "time": "2026-03-02T09:30:00Z"},
    "chat/completions": {"model": "mnemic", "messages": [{"role": "user", "content": "Who mended the parser?"}]},
}


@functools.cache
def document() -> dict[str, Any]:
    """The OpenAPI document, version 3.1."""
    schemas: dict[str, Any] = {"Error": _ERROR}
    paths: dict[str, Any] = {}
    for action in ACTIONS.values():
        answer = _HITS if action.name == "search" else {"type": "object", "additionalProperties": True}
        model = _model(schemas, action.arguments.model_json_schema(ref_template=_REFERENCE + "{model}"))
        paths[f"/v1/{action.name}"] = {"post": _operation(action.name, action.summary, model, answer)}
    chat = _model(schemas, ChatRequest.model_json_schema(ref_template=_REFERENCE + "{model}"))
    paths["/v1/chat/completions"] = {
        "post": _operation(
            "chat/completions",
            "An answer of the recipe's language model with a memory of the bank attached, as OpenAI's chat "
            "completions; with `stream` as server-sent events. `mnemic` is the model with the best memory that "
            "the caller may have.",
            chat,
            {"type": "object", "additionalProperties": True},
        )
    }
    for path, summary in (
        ("/v1/models", "The models that the caller may ask for."),
        ("/v1/bank", "The release served."),
    ):
        paths[path] = {"get": _operation(path.rpartition("/")[2], summary, None, {"type": "object"})}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mnemic",
            "version": mnemic.__version__,
            "description": "A bank of mnemic. Every answer is of the tenant whose token asks. The same actions are "
            "tools of the Model Context Protocol under /mcp.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}, "schemas": schemas},
    }


def _model(schemas: dict[str, Any], schema: dict[str, Any]) -> dict[str, str]:
    """A reference to ``schema``, which is put into ``schemas`` with what it refers to."""
    schemas.update(schema.pop("$defs", {}))
    schemas[schema["title"]] = schema
    return {"$ref": _REFERENCE + schema["title"]}


def _operation(name: str, summary: str, model: dict[str, str] | None, answer: dict[str, Any]) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": _REFERENCE + "Error"}}}
    operation: dict[str, Any] = {
        "operationId": name.replace("/", "_"),
        "summary": summary,
        "responses": {
            "200": {"description": "the answer", "content": {"application/json": {"schema": answer}}},
            **{status: {"description": text, "content": error} for status, text in _STATUS.items()},
        },
    }
    if model is not None:
        content = {"application/json": {"schema": model, "example": _EXAMPLES[name]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


@functools.cache
def page() -> str:
    """The document for people: one page of HTML without script, and without anything from elsewhere."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>mnemic: HTTP API</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body><main>
<h1>mnemic {escape(mnemic.__version__)}: HTTP API</h1>
<p>{escape(document()["info"]["description"])} <a href="openapi.json">openapi.json</a> is this page for programs.</p>
<p>Each request has the header <code>Authorization: Bearer TOKEN</code>. Errors are
<code>{{"error": {{"message": "a sentence", "type": "..."}}}}</code>.</p>
{"".join(_sections())}</main></body></html>
"""


def _sections() -> Iterator[str]:
    schemas = document()["components"]["schemas"]
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield f"<section><h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>"
            if "requestBody" in operation:
                content = operation["requestBody"]["content"]["application/json"]
                schema = schemas[content["schema"]["$ref"].removeprefix(_REFERENCE)]
                yield f"<pre>{escape(_command(path, content['example']))}</pre><table><thead><tr>"
                yield "<th>field</th><th>type</th><th>meaning</th></tr></thead><tbody>"
                yield from (_row(name, one, schema) for name, one in schema["properties"].items())
                yield "</tbody></table>"
            yield "</section>"


def _command(path: str, example: dict[str, Any]) -> str:
    return (
        f'curl http://127.0.0.1:8765{path} \\\n  -H "Authorization: Bearer $MNEMIC_TOKEN" '
        f"-H 'Content-Type: application/json' \\\n  -d '{json.dumps(example)}'"
    )


def _row(name: str, one: dict[str, Any], schema: dict[str, Any]) -> str:
    needed = " (needed)" if name in schema.get("required", ()) else ""
    default = f" Default {json.dumps(one['default'])}." if one.get("default") is not None else ""
    meaning = f"{one.get('description', '')}.{default}" if one.get("description") else default
    return (
        f"<tr><td><code>{escape(name)}</code>{needed}</td><td>{escape(_type(one))}</td><td>{escape(meaning)}</td></tr>"
    )


def _type(one: dict[str, Any]) -> str:
    if "anyOf" in one:
        return " or ".join(dict.fromkeys(_type(part) for part in one["anyOf"] if part.get("type") != "null"))
    if "enum" in one:
        return " or ".join(map(str, one["enum"]))
    if "const" in one:
        return json.dumps(one["const"])
    if one.get("type") == "array":
        return f"list of {_type(one['items'])}"
    if "$ref" in one:
        return str(one["$ref"]).removeprefix(_REFERENCE)
    bounds = [f"{word} {one[key]:,}" for key, word in _BOUNDS.items() if key in one]
    return " ".join([str(one.get("type", "")), *([f"({', '.join(bounds)})"] if bounds else [])])


_BOUNDS = {"minimum": "from", "maximum": "to", "maxLength": "characters to"}
_STYLE = """
:root { color-scheme: light dark } body { font: 16px/1.5 system-ui, sans-serif; margin: 0 }
main { max-width: 52rem; margin: 2rem auto; padding: 0 1rem } section { margin: 2.5rem 0 }
code, pre { font: 14px/1.45 ui-monospace, monospace } pre { overflow-x: auto; padding: .75rem; border: 1px solid #8884 }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: .3rem .6rem }
tr { border-top: 1px solid #8884 } h2 { border-bottom: 1px solid #8886 }
"""
