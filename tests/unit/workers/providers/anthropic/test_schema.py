"""workers/providers/anthropic/schema.py."""

from __future__ import annotations

from typing import Any

import pytest

from workers.providers.anthropic.schema import Inexpressible, to_strict_schema

TEXT = {"type": "string"}


def _closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "object", "properties": {"a": TEXT}}, _closed(a=TEXT)),
        (_closed(), _closed()),
        (
            {"$schema": "x", "type": "object", "properties": {"a": {"type": "integer", "minimum": 1}},
             "required": ["a"]},
            {**_closed(a={"type": "integer", "description": 'Constraints: {"minimum":1}'}), "required": ["a"]},
        ),
        (
            _closed(a={"type": "string", "maxLength": 3, "description": "short"}),
            _closed(a={"type": "string", "description": 'short\n\nConstraints: {"maxLength":3}'}),
        ),
        (_closed(a={"oneOf": [TEXT, {"type": "null"}]}), _closed(a={"anyOf": [TEXT, {"type": "null"}]})),
        (_closed(a={"type": "array", "items": TEXT, "minItems": 1}), _closed(
            a={"type": "array", "items": TEXT, "minItems": 1})),
        (_closed(a={"type": "array", "items": TEXT, "minItems": 2}), _closed(
            a={"type": "array", "items": TEXT, "description": 'Constraints: {"minItems":2}'})),
        (_closed(a={**TEXT, "format": "date"}), _closed(a={**TEXT, "format": "date"})),
        (_closed(a={**TEXT, "format": "regex"}), _closed(a={**TEXT, "description": 'Constraints: {"format":"regex"}'})),
        (_closed(a={"enum": ["x", 1]}, b={"const": {"type": "object"}}),
         _closed(a={"enum": ["x", 1]}, b={"const": {"type": "object"}})),
        (
            {**_closed(a={"$ref": "#/$defs/b"}), "$defs": {"b": {"type": "object", "properties": {"c": TEXT}}}},
            {**_closed(a={"$ref": "#/$defs/b"}), "$defs": {"b": _closed(c=TEXT)}},
        ),
        (_closed(description=TEXT, format=TEXT), _closed(description=TEXT, format=TEXT)),
    ],
)  # fmt: skip
def test_objects_are_closed_and_what_cannot_be_enforced_is_told(schema: dict[str, Any], strict: dict[str, Any]) -> None:
    """What answers to the strict schema answers to the other as far as it can be held to."""
    assert to_strict_schema(schema) == strict
    assert to_strict_schema(strict) == strict


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": TEXT},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": True}},
        {"type": ["object", "null"]},
        {},
        {"$ref": "https://example.org/schema"},
        {**_closed(a={"$ref": "#"})},
        {**_closed(a={"$ref": "#/$defs/b"}), "$defs": {"b": _closed(c={"$ref": "#/$defs/b"})}},
        {"type": "object", "properties": [1]},
        {"type": "object", "properties": {"a": {"type": "string", "format": []}}},
    ],
)
def test_what_a_closed_grammar_cannot_hold_is_said(schema: dict[str, Any]) -> None:
    """Open objects would come out empty, and recursion is refused."""
    with pytest.raises(Inexpressible):
        to_strict_schema(schema)


def test_the_given_schema_is_not_changed() -> None:
    """It is the client's, and may be needed as it is."""
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
    to_strict_schema(schema)
    assert schema == {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
