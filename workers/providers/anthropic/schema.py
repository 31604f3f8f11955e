"""JSON Schemas as Anthropic's constrained decoding takes them. Pure.

Source: "JSON Schema limitations" of Anthropic's structured outputs page, and what its SDK's `transform_schema` does:
every object is closed, and a constraint that cannot be enforced is put into the description for the model.
"""

from __future__ import annotations

from typing import Any

import msgspec

_KEPT = frozenset({"type", "enum", "const", "title", "default", "required", "$ref"})
_FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
})  # fmt: skip
_DEFINITIONS = ("$defs", "definitions")
# `oneOf` as Anthropic's SDK sends it: a grammar does not count how many match.
_ALTERNATIVES = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
# Without meaning for an answer, or treated by themselves.
_ELSEWHERE = frozenset({"$schema", "$id", "$comment", "examples", "description", "additionalProperties"})


class Inexpressible(Exception):
    """The schema allows what a closed grammar cannot: open objects, recursion, references to elsewhere."""


def to_strict_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with every object closed: what it accepts `schema` accepts, but for inexpressible constraints.

    Raises:
        Inexpressible: there is no such schema.
    """
    try:
        _check_references(schema)
        return _strict(schema)
    except (TypeError, AttributeError, RecursionError):  # no schema at all: that is for the upstream to say
        raise Inexpressible from None


def _strict(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict):  # `true` and `false` are schemas too
        raise Inexpressible
    result: dict[str, Any] = {}
    unenforced: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _DEFINITIONS or name == "properties":
            result[name] = {key: _strict(part) for key, part in value.items()}
        elif name in _ALTERNATIVES:
            result[_ALTERNATIVES[name]] = [_strict(part) for part in value]
        elif name == "items":
            result[name] = _strict(value)
        elif _is_enforced(name, value):
            result[name] = value
        elif name not in _ELSEWHERE:
            unenforced[name] = value
    _close(schema, result)
    description = [schema["description"]] if "description" in schema else []
    if unenforced:
        description.append(f"Constraints: {msgspec.json.encode(unenforced).decode()}")
    return {**result, "description": "\n\n".join(description)} if description else result


def _is_enforced(name: str, value: Any) -> bool:
    # Of lengths the grammar knows whether a list is empty, no more.
    return name in _KEPT or (name == "format" and value in _FORMATS) or (name == "minItems" and value in {0, 1})


def _close(schema: dict[str, Any], result: dict[str, Any]) -> None:
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if "object" not in kinds and "properties" not in schema:
        if not kind and not any(name in schema for name in ("$ref", "enum", "const", *_ALTERNATIVES)):
            raise Inexpressible  # anything at all
        return
    extra = schema.get("additionalProperties", True)
    if isinstance(extra, dict) or (extra is True and not schema.get("properties")):
        raise Inexpressible
    result["additionalProperties"] = False


def _check_references(schema: dict[str, Any]) -> None:
    """Find references to elsewhere and definitions that hold themselves."""
    definitions = {f"#/{group}/{name}": part for group in _DEFINITIONS for name, part in schema.get(group, {}).items()}
    done: set[str] = set()

    def follow(reference: str, path: tuple[str, ...]) -> None:
        if reference in path or reference not in definitions:
            raise Inexpressible
        if reference not in done:
            for inner in _references(definitions[reference]):
                follow(inner, (*path, reference))
            done.add(reference)

    for reference in _references(schema):
        follow(reference, ())


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [found for part in schema for found in _references(part)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    # The four left out hold values, in which a `$ref` refers to nothing.
    inner = [part for name, part in schema.items() if name not in {"enum", "const", "default", "examples"}]
    return own + _references(inner)
