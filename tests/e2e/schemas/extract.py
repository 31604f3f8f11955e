"""Takes the schemas of the replies that we send out of OpenAI's OpenAPI document, as JSON Schema, one file each.

    python -m tests.e2e.schemas.extract openapi.json

Descriptions and examples are left out, `nullable` becomes a type, and an object with named properties allows no
others: what we send beyond OpenAI's format has to be found. LICENSE beside this file is that of the document.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

NAMES = (
    "CreateChatCompletionResponse",
    "CreateChatCompletionStreamResponse",
    "CreateEmbeddingResponse",
    "CreateResponse",
    "ErrorResponse",
    "ListModelsResponse",
    "Model",
    "ResponseStreamEvent",
)
REQUEST_PLACES = {
    "": ("CreateChatCompletionRequest",),
    "messages[].": tuple(
        f"ChatCompletionRequest{role}Message"
        for role in ("Developer", "System", "User", "Assistant", "Tool", "Function")
    ),
    "messages[].content[].": tuple(
        f"ChatCompletionRequestMessageContentPart{kind}" for kind in ("Text", "Image", "Audio", "File", "Refusal")
    ),
    "tools[].": ("ChatCompletionTool", "CustomToolChatCompletions"),
    "tools[].function.": ("FunctionObject",),
}
"""The schemas of a chat request's objects, by where they stand."""
RESPONSE_PLACES = {
    "": ("CreateResponse",),
    "reasoning.": ("Reasoning",),
    "text.": ("ResponseTextParam",),
    "text.format.": ("TextResponseFormatJsonSchema",),
    "stream_options.": ("ResponseStreamOptions",),
    "input[].": (
        "EasyInputMessage", "InputMessage", "OutputMessage", "FunctionToolCall", "FunctionCallOutputItemParam",
        "CustomToolCall", "CustomToolCallOutput", "ReasoningItem", "AdditionalToolsItemParam", "ItemReferenceParam",
    ),
    "input[].content[].": (
        "InputTextContent", "InputImageContent", "InputFileContent", "OutputTextContent", "RefusalContent",
    ),
    "tools[].": ("FunctionTool", "CustomToolParam", "NamespaceToolParam"),
}  # fmt: skip
"""The schemas of a Responses request's objects that every model may be sent, by where they stand."""
_REF = "#/components/schemas/"
_LEFT_OUT = {"description", "title", "example", "examples", "default", "deprecated", "nullable", "format"}


def extract(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the schema `name` with all that it refers to."""
    schemas = document["components"]["schemas"]
    found: dict[str, Any] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found[current] = _converted(_as_one(schemas[current], schemas), waiting, closed=True)
    root = found.pop(name)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": dict(sorted(found.items()))}


def _as_one(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return an object that is made of several as one: by itself, each of them would allow no fields of the others."""
    if not any("$ref" in part for part in schema.get("allOf", ())):
        return schema
    merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    for part in schema["allOf"]:
        whole = _as_one(schemas[part["$ref"].removeprefix(_REF)] if "$ref" in part else part, schemas)
        merged["properties"] |= whole.get("properties", {})
        merged["required"] += whole.get("required", [])
    return merged


def _converted(node: Any, referred: list[str], *, closed: bool) -> Any:
    if isinstance(node, list):
        return [_converted(item, referred, closed=closed) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = node["$ref"].removeprefix(_REF)
        referred.append(target)
        schema: dict[str, Any] = {"$ref": f"#/$defs/{target}"}
    else:
        schema = {}
        for key, value in node.items():
            if key == "properties":
                schema[key] = {name: _converted(item, referred, closed=True) for name, item in value.items()}
            elif key not in _LEFT_OUT and not key.startswith("x-"):
                schema[key] = _converted(value, referred, closed=closed and key != "allOf")
        if closed and "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return {"anyOf": [schema, {"type": "null"}]} if node.get("nullable") is True else schema


def request_fields(document: dict[str, Any]) -> list[str]:
    """Return the fields of a chat request that OpenAI names, by where they stand."""
    schemas = document["components"]["schemas"]
    found = {
        f"{place}{field}"
        for place, names in REQUEST_PLACES.items()
        for name in names
        for field in _properties(schemas[name], schemas)
    }
    image = schemas["ChatCompletionRequestMessageContentPartImage"]["properties"]["image_url"]["properties"]
    return sorted(found | {f"messages[].content[].image_url.{field}" for field in image})


def _properties(schema: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    found = set(schema.get("properties", ()))
    for part in schema.get("allOf", ()):
        found |= _properties(schemas[part["$ref"].removeprefix(_REF)] if "$ref" in part else part, schemas)
    return found


def response_fields(document: dict[str, Any]) -> list[str]:
    """Return the fields of a Responses request that OpenAI names, by where they stand."""
    schemas = document["components"]["schemas"]
    found = {
        f"{place}{field}"
        for place, names in RESPONSE_PLACES.items()
        for name in names
        for field in _properties(_without_null(schemas[name]), schemas)
    }
    return sorted(found - {"text.format.type"})


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    return next((one for one in schema.get("anyOf", ()) if one.get("type") == "object"), schema)


def embedding_fields(document: dict[str, Any]) -> list[str]:
    """Return the fields of an embeddings request that OpenAI names."""
    schemas = document["components"]["schemas"]
    return sorted(_properties(schemas["CreateEmbeddingRequest"], schemas))


def request_values(document: dict[str, Any]) -> dict[str, list[str]]:
    """Return the values of a chat request's own fields that take nothing but a few words."""
    schemas = document["components"]["schemas"]
    fields: dict[str, Any] = {}
    for part in schemas["CreateChatCompletionRequest"]["allOf"]:
        fields |= _own_properties(part, schemas)
    return {name: values for name, field in sorted(fields.items()) if (values := _words(field, schemas))}


def _own_properties(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        schema = schemas[schema["$ref"].removeprefix(_REF)]
    found = dict(schema.get("properties", {}))
    for part in schema.get("allOf", ()):
        found |= _own_properties(part, schemas)
    return found


def _words(field: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    if "$ref" in field:
        field = schemas[field["$ref"].removeprefix(_REF)]
    options = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    return sorted(options[0].get("enum", ())) if len(options) == 1 else []


def main() -> None:
    """Write each schema beside this file, and the fields of a request."""
    document = json.loads(Path(sys.argv[1]).read_text())
    for taken in (request_fields, response_fields, embedding_fields, request_values):
        text = json.dumps(taken(document), indent=2)
        Path(__file__).with_name(f"{taken.__name__}.json").write_text(text + "\n")
    for name in NAMES:
        text = json.dumps(extract(document, name), indent=2, sort_keys=True)
        Path(__file__).with_name(f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
