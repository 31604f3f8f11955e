"""What OpenAI's Responses API promises of its replies: the document's schemas, and the order of a stream's events."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

_DOCUMENT = Path(__file__).with_name("schemas") / "ResponseStreamEvent.json"
TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
_OUR_OWN = frozenset({"extra_content", "images", "reasoning_details"})
"""Fields of items that OpenAI does not name (docs/api.md)."""
_OPENAIS_OWN = {"store": (True, False), "usage": (None,), "user": (None,)}
"""What OpenAI's own API says in a response, and its document does not."""


@cache
def _definitions() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_DOCUMENT.read_text())["$defs"]
    return found


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$defs": _definitions(), "$ref": f"#/$defs/{name}"})


@cache
def _event_schemas() -> dict[str, str]:
    """Return the name of each event's schema, by the event's type."""
    found = {}
    for name, schema in _definitions().items():
        kinds = schema.get("properties", {}).get("type", {}).get("enum", ())
        if name.endswith("Event") and len(kinds) == 1:
            found[kinds[0]] = name
    return found


def response_faults(response: Any) -> list[str]:
    """Return what is wrong with a Response."""
    output = [{name: value for name, value in item.items() if name not in _OUR_OWN} for item in response["output"]]
    shown = {name: value for name, value in response.items() if value not in _OPENAIS_OWN.get(name, ())}
    return _faults("Response", {**shown, "output": output})


def _faults(name: str, value: Any) -> list[str]:
    return [f"{name} {error.json_path}: {error.message}"[:1000] for error in _validator(name).iter_errors(value)]


def events_of(body: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the events of a stream as far as it was read, and what is wrong with their form."""
    *blocks, _ = body.split(b"\n\n")
    events, faults = [], []
    for block in blocks:
        if block.startswith(b":"):
            continue
        name, _, line = block.partition(b"\n")
        if not name.startswith(b"event: ") or not line.startswith(b"data: {") or b"\n" in line:
            faults.append(f"not an event: {block!r}")
            continue
        events.append(json.loads(line.removeprefix(b"data: ")))
        if events[-1]["type"].encode() != name.removeprefix(b"event: "):
            faults.append(f"{name!r} of type {events[-1]['type']}")
    return events, faults


def response_stream_faults(body: bytes) -> list[str]:
    """Return what is wrong with a stream of a response, as far as the client has read it."""
    events, faults = events_of(body)
    for event in events:
        faults += _event_faults(event)
    kinds = [event["type"] for event in events]
    begun = [kind for kind in kinds[:3] if kind != "response.queued"][:2]  # that is said of the background alone
    if begun != ["response.created", "response.in_progress"][: len(begun)] and kinds[:1] != ["error"]:
        faults.append(f"begins with {kinds[:2]}")
    if [event["sequence_number"] for event in events] != list(range(len(events))):
        faults.append("sequence numbers are not consecutive")
    ends = [number for number, kind in enumerate(kinds) if kind in TERMINAL]
    if ends and ends != [len(kinds) - 1]:
        faults.append("goes on after its end")
    if ends and kinds[-1] == "response.failed" and kinds[-2] != "error":
        faults.append("failed without an error event")
    ids = {event["response"]["id"] for event in events if "response" in event}
    if len(ids) > 1:
        faults.append(f"the response has several ids: {ids}")
    whole = bool(ends) and kinds[-1] != "response.failed"
    return faults + _item_faults(events, is_whole=whole)


def _event_faults(event: dict[str, Any]) -> list[str]:
    if event["type"] not in _event_schemas():
        return [f"unknown event {event['type']}"]
    shown = event
    if "item" in event:
        shown = {**event, "item": {name: value for name, value in event["item"].items() if name not in _OUR_OWN}}
    elif "response" in event:
        return response_faults(event["response"])
    elif event["type"] == "error":  # OpenAI's own API also has the object of its other errors in it
        shown = {name: value for name, value in event.items() if name != "error"}
    return _faults(_event_schemas()[event["type"]], shown)


def _item_faults(events: list[dict[str, Any]], *, is_whole: bool) -> list[str]:
    """Return what is wrong with the items: each is added once, done once, and has what its pieces had."""
    faults: list[str] = []
    open_items: dict[int, dict[str, Any]] = {}
    done: dict[int, dict[str, Any]] = {}
    pieces: dict[tuple[int, int, str], str] = {}
    for event in events:
        kind, index = event["type"], event.get("output_index", -1)
        if kind == "response.output_item.added":
            if index != len(open_items) + len(done):
                faults.append(f"item {index} is not the next one")
            open_items[index] = event["item"]
        elif kind == "response.output_item.done":
            if open_items.pop(index, {}).get("id") != event["item"]["id"]:
                faults.append(f"item {index} is done and was not added, or has another id")
            done[index] = event["item"]
        elif index >= 0:
            if open_items.get(index, {}).get("id") != event["item_id"]:
                faults.append(f"{kind}: no item {index} with its id is open")
            faults += _piece_faults(event, pieces)
    if is_whole:
        faults += [f"item {index} is not done" for index in open_items]
        if [done[index] for index in sorted(done)] != events[-1]["response"]["output"]:
            faults.append("the response's output differs from its items")
    return faults


def _piece_faults(event: dict[str, Any], pieces: dict[tuple[int, int, str], str]) -> list[str]:
    """Return what is wrong with a delta, or with a text that is done and should be all of its deltas."""
    stem, _, what = event["type"].rpartition(".")
    part = (event["output_index"], event.get("content_index", event.get("summary_index", 0)), stem)
    if what == "delta":
        pieces[part] = pieces.get(part, "") + event["delta"]
    elif what == "done" and not stem.endswith("part"):
        text = next(event[name] for name in ("text", "refusal", "arguments", "input") if name in event)
        if text != pieces.get(part, ""):
            return [f"{event['type']}: {text!r} is not what its deltas said: {pieces.get(part)!r}"]
    return []
