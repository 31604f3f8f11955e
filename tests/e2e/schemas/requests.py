"""Requests that OpenAI's document allows, whatever they say: strategies made of its schemas."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

MOST_DEPTH = 6
"""Deeper than that only what must be there is there."""
_TEXTS = st.sampled_from(
    ["", "a", "call_1", "hello\n", "{}", '{"a":1}', "data:image/png;base64,AAAA", "é\u2028🌍", "\x00"]
)


@cache
def _document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(__file__).with_name("CreateResponse.json").read_text())
    return found


@st.composite
def response_requests(draw: st.DrawFn) -> dict[str, Any]:
    """Bodies of POST /v1/responses, each with a model and an input."""
    fields = {name: one for name, one in _document()["properties"].items() if name not in {"model", "input"}}
    chosen = draw(st.sets(st.sampled_from(sorted(fields)), max_size=6))
    body: dict[str, Any] = {"model": "auto", "input": "hello"}
    if draw(st.booleans()):
        body["input"] = [draw(_made({"$ref": "#/$defs/InputItem"}, 0)) for _ in range(draw(st.integers(0, 4)))]
    return body | {name: draw(_made(fields[name], 0)) for name in sorted(chosen)}


def _made(schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    """Return what a schema allows."""
    if "$ref" in schema:
        return _defined(schema["$ref"].rpartition("/")[2], depth)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema.get("oneOf") or schema.get("anyOf")
    if kinds:
        return st.one_of([_made(kind, depth) for kind in kinds])
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return _object(schema, depth)
    if kind == "array":
        return st.lists(_made(schema.get("items", {}), depth + 1), max_size=0 if depth > MOST_DEPTH else 2)
    return _VALUES[kind](schema) if kind in _VALUES else _FREE


@cache
def _defined(name: str, depth: int) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: _made(_document()["$defs"][name], depth))


def _object(schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    named = schema.get("properties", {})
    required = {name: _made(named.get(name, {}), depth + 1) for name in schema.get("required", ())}
    optional = {
        name: _made(one, depth + 1) for name, one in named.items() if name not in required and depth <= MOST_DEPTH
    }
    if not required and not optional:
        others = schema.get("additionalProperties")
        values = _made(others, depth + 1) if isinstance(others, dict) and others else _FREE
        return st.dictionaries(st.sampled_from(["a", "type", "name"]), values, max_size=2)
    return st.fixed_dictionaries(required, optional=optional)


_FREE: st.SearchStrategy[Any] = st.sampled_from([None, True, 1, "a", [], {}, {"type": "object"}])
_VALUES: dict[str, Any] = {
    "string": lambda _: _TEXTS,
    "integer": lambda schema: st.integers(schema.get("minimum", -3), schema.get("maximum", 1_000)),
    "number": lambda schema: st.sampled_from([schema.get("minimum", 0), 0.5, schema.get("maximum", 1)]),
    "boolean": lambda _: st.booleans(),
    "null": lambda _: st.none(),
}
