"""What OpenAI's API promises of its replies: its OpenAPI document's schemas, and the order of a stream's chunks."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tests.e2e.response_rules import response_faults, response_stream_faults

_SCHEMAS = Path(__file__).with_name("schemas")
_RESPONSE = re.compile(r"/responses(/resp_[0-9a-f]+)?$")


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((_SCHEMAS / f"{name}.json").read_text()))


def faults_of(path: str, status: int, content_type: str, asked: bytes, body: bytes) -> list[str]:
    """Return what is wrong with a reply to a call of /v1; empty if nothing is.

    Args:
        path: of the request.
        status: of the reply.
        content_type: of the reply.
        asked: the request's body.
        body: the reply's body; that of a stream may break off where the client left.
    """
    is_response = _RESPONSE.search(path) is not None
    if content_type.startswith("text/event-stream") and is_response:
        return response_stream_faults(body)
    if content_type.startswith("text/event-stream"):
        return stream_faults(body, json.loads(asked))
    if content_type != "application/json":
        return [f"{path} {status}: content-type {content_type!r}"]
    value = json.loads(body)
    if path.endswith("/embeddings") and status < 400 and json.loads(asked).get("encoding_format") == "base64":
        # The document describes the vectors as numbers only, and its clients ask for base64.
        value["data"] = [{**one, "embedding": list(base64.b64decode(one["embedding"]))} for one in value["data"]]
    if is_response and status < 400:
        return response_faults(value)
    return schema_faults(_schema_of(path, status), value)


def _schema_of(path: str, status: int) -> str:
    if status >= 400:
        return "ErrorResponse"
    if path.endswith("/chat/completions"):
        return "CreateChatCompletionResponse"
    if path.endswith("/embeddings"):
        return "CreateEmbeddingResponse"
    return "ListModelsResponse" if path.endswith("/models") else "Model"


def schema_faults(name: str, value: Any) -> list[str]:
    """Return where a value is not what the schema `name` says."""
    return [f"{name} {error.json_path}: {error.message}" for error in _validator(name).iter_errors(value)]


def stream_faults(body: bytes, asked: dict[str, Any]) -> list[str]:
    """Return what is wrong with a stream, as far as the client has read it."""
    *events, rest = body.split(b"\n\n")
    lines = [event.removeprefix(b"data: ") for event in events if not event.startswith(b":")]
    faults = [f"not an event: {event!r}" for event in events if not event.startswith((b"data: {", b"data: [", b":"))]
    if not lines or faults:
        return faults
    ended = lines[-1] == b"[DONE]"
    chunks = [json.loads(line) for line in lines[: -1 if ended else None]]
    if "error" in chunks[-1]:
        faults += schema_faults("ErrorResponse", chunks.pop())
    elif ended and rest:
        faults.append(f"after the end: {rest!r}")
    for chunk in chunks:
        faults += schema_faults("CreateChatCompletionStreamResponse", chunk)
    if len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) > 1:
        faults.append("id, created and model change on the way")
    return faults + _usage_faults(chunks, asked, ended=ended) + _choice_faults(chunks, asked, ended=ended)


def _usage_faults(chunks: list[dict[str, Any]], asked: dict[str, Any], *, ended: bool) -> list[str]:
    if not (asked.get("stream_options") or {}).get("include_usage"):
        return ["usage was not asked for"] if any("usage" in chunk for chunk in chunks) else []
    *earlier, last = chunks
    faults = [] if all(chunk.get("usage", "absent") is None for chunk in earlier) else ["usage is not null on the way"]
    if ended and (last["choices"] or not last["usage"]):
        faults.append(f"the last chunk is not that of the usage: {last}")
    return faults


def _choice_faults(chunks: list[dict[str, Any]], asked: dict[str, Any], *, ended: bool) -> list[str]:
    faults = []
    pieces: dict[int, list[dict[str, Any]]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            pieces.setdefault(choice["index"], []).append(choice)
    for index, choices in pieces.items():
        if [choice["delta"].get("role") for choice in choices] != ["assistant"] + [None] * (len(choices) - 1):
            faults.append(f"choice {index}: the role stands in the first chunk, and only there")
        *earlier, last = choices
        if any(choice["finish_reason"] for choice in earlier):
            faults.append(f"choice {index}: goes on after its finish reason")
        if ended and not (last["finish_reason"] and last["delta"] == {}):
            faults.append(f"choice {index}: does not end with a finish reason and an empty delta")
    if ended and sorted(pieces) != list(range(asked.get("n") or 1)):
        faults.append(f"choices {sorted(pieces)} of {asked.get('n') or 1}")
    return faults
