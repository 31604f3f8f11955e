"""Replies of OpenAI's Responses API, streamed and whole, built with the `openai` package's own types.

A reply is a list of items (`message`, `refusal`, `reasoning`, `call`, `custom_call`, `web_search`), which `stream` and
`whole` number and put into OpenAI's events and body.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Sequence

_event: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
RESPONSE_ID = "resp_scripted"


@dataclass
class Item:
    """An item of an answer.

    Args:
        done: as it is in the end, without `status`.
        added: its fields as it begins, where they are others.
        events: what comes between its beginning and its end, without the number of the item and its id.
        has_status: whether it has one.
    """

    done: dict[str, Any]
    added: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    has_status: bool = True

    def with_status(self, status: str) -> dict[str, Any]:
        """Return the item in the end."""
        return {**self.done, **({"status": status} if self.has_status else {})}

    def all_events(self, number: int, status: str) -> list[dict[str, Any]]:
        """Return every event of it."""
        begun = {**self.with_status("in_progress"), **self.added}
        inner = [{**one, "item_id": self.done["id"], "output_index": number} for one in self.events]
        return [
            {"type": "response.output_item.added", "output_index": number, "item": begun},
            *inner,
            {"type": "response.output_item.done", "output_index": number, "item": self.with_status(status)},
        ]


def message(
    *pieces: str,
    item_id: str = "msg_1",
    annotations: Sequence[dict[str, Any]] = (),
    logprobs: Sequence[dict[str, Any]] = (),
    phase: str | None = None,
) -> Item:
    """Return what is said, one event a piece; `logprobs` are those of the pieces, one each."""
    text, index = "".join(pieces), {"content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    whole = {**part, "text": text, "annotations": list(annotations), "logprobs": list(logprobs)}
    deltas = [
        {"type": "response.output_text.delta", "delta": piece, "logprobs": list(logprobs[number : number + 1]), **index}
        for number, piece in enumerate(pieces)
    ]
    cited = [
        {"type": "response.output_text.annotation.added", "annotation_index": number, "annotation": one, **index}
        for number, one in enumerate(annotations)
    ]
    events = [
        {"type": "response.content_part.added", "part": part, **index},
        *deltas,
        *cited,
        {"type": "response.output_text.done", "text": text, "logprobs": list(logprobs), **index},
        {"type": "response.content_part.done", "part": whole, **index},
    ]
    done = {"id": item_id, "type": "message", "role": "assistant", "content": [whole]}
    return Item({**done, **({"phase": phase} if phase else {})}, {"content": []}, events)


def refusal(*pieces: str, item_id: str = "msg_1") -> Item:
    """Return what the model refuses to say."""
    text, index = "".join(pieces), {"content_index": 0}
    events = [
        {"type": "response.content_part.added", "part": {"type": "refusal", "refusal": ""}, **index},
        *({"type": "response.refusal.delta", "delta": piece, **index} for piece in pieces),
        {"type": "response.refusal.done", "refusal": text, **index},
        {"type": "response.content_part.done", "part": {"type": "refusal", "refusal": text}, **index},
    ]
    content = [{"type": "refusal", "refusal": text}]
    done = {"id": item_id, "type": "message", "role": "assistant", "content": content}
    return Item(done, {"content": []}, events)


def call(*pieces: str, name: str = "weather", call_id: str = "call_0", item_id: str | None = None) -> Item:
    """Return a function call whose arguments come in pieces."""
    arguments = "".join(pieces)
    events = [
        *({"type": "response.function_call_arguments.delta", "delta": piece} for piece in pieces),
        {"type": "response.function_call_arguments.done", "name": name, "arguments": arguments},
    ]
    done = {"id": item_id or f"fc_{call_id}", "type": "function_call", "call_id": call_id, "name": name}
    return Item({**done, "arguments": arguments}, {"arguments": ""}, events)


def custom_call(*pieces: str, name: str = "shell", call_id: str = "call_0") -> Item:
    """Return a call of a custom tool."""
    text = "".join(pieces)
    events = [
        *({"type": "response.custom_tool_call_input.delta", "delta": piece} for piece in pieces),
        {"type": "response.custom_tool_call_input.done", "input": text},
    ]
    done = {"id": f"ctc_{call_id}", "type": "custom_tool_call", "call_id": call_id, "name": name, "input": text}
    return Item(done, {"input": ""}, events, has_status=False)


def reasoning(*pieces: str, item_id: str = "rs_1", encrypted: str | None = None) -> Item:
    """Thoughts, with a summary of one part; none is as usual."""
    text, index = "".join(pieces), {"summary_index": 0}
    part = {"type": "summary_text", "text": ""}
    events = [
        {"type": "response.reasoning_summary_part.added", "part": part, **index},
        *({"type": "response.reasoning_summary_text.delta", "delta": piece, **index} for piece in pieces),
        {"type": "response.reasoning_summary_text.done", "text": text, **index},
        {"type": "response.reasoning_summary_part.done", "part": {**part, "text": text}, **index},
    ]
    done: dict[str, Any] = {"id": item_id, "type": "reasoning", "summary": [{**part, "text": text}] if pieces else []}
    if encrypted is not None:
        done["encrypted_content"] = encrypted
    return Item(done, {"summary": []}, events if pieces else [], has_status=False)


def web_search(query: str = "rain", item_id: str = "ws_1") -> Item:
    """Return a search that OpenAI makes itself."""
    steps = ("in_progress", "searching", "completed")
    events = [{"type": f"response.web_search_call.{step}"} for step in steps]
    done = {"id": item_id, "type": "web_search_call", "action": {"type": "search", "query": query}}
    return Item(done, {}, events)


def usage(prompt: int, completion: int, *, cached: int = 0, reasoning: int = 0, written: int = 0) -> dict[str, Any]:
    """Return a usage object."""
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + completion,
    }


def response(status: str, output: Sequence[dict[str, Any]] = (), **fields: Any) -> dict[str, Any]:
    """Return a response object, as the SDK can read it."""
    made: dict[str, Any] = {
        "id": RESPONSE_ID, "object": "response", "created_at": 1_700_000_000, "status": status, "background": False,
        "error": None, "incomplete_details": None, "instructions": None, "max_output_tokens": None, "model": "scripted",
        "output": list(output), "parallel_tool_calls": True, "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None}, "service_tier": None, "store": False, "temperature": 1.0,
        "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "truncation": "disabled", "usage": None, "user": None, "metadata": {}, **fields,
    }  # fmt: skip
    Response.model_validate(made)
    return made


def event(sequence_number: int, fields: dict[str, Any]) -> bytes:
    """Return a server-sent event that the SDK can read."""
    made = {**fields, "sequence_number": sequence_number}
    _event.validate_python(made)
    return raw_event(made["type"], made)


def raw_event(kind: str, data: Any) -> bytes:
    """Return a server-sent event with any data."""
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def numbered(*events: dict[str, Any]) -> bytes:
    """Events in their order."""
    return b"".join(event(number, fields) for number, fields in enumerate(events))


def ended(
    items: Sequence[Item], usage: dict[str, Any] | None, incomplete: str | None = None, **fields: Any
) -> dict[str, Any]:
    """Return the response in its end: completed, or cut for the reason that is named."""
    status = "incomplete" if incomplete else "completed"
    cut = {"incomplete_details": {"reason": incomplete}} if incomplete else {}
    output = [
        item.with_status(status if number == len(items) - 1 else "completed") for number, item in enumerate(items)
    ]
    return response(status, output, usage=usage, **{**cut, **fields})


def stream(*items: Item, usage: dict[str, Any] | None = None, incomplete: str | None = None, **fields: Any) -> bytes:
    """Return a whole stream of these items; `fields` are of the last event's response."""
    end = ended(items, usage, incomplete, **fields)
    begun = response("in_progress")
    return numbered(
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        *(
            one
            for number, item in enumerate(items)
            for one in item.all_events(number, end["output"][number].get("status", ""))
        ),
        {"type": f"response.{end['status']}", "response": end},
    )


def whole(*items: Item, usage: dict[str, Any] | None = None, incomplete: str | None = None) -> bytes:
    """Return a response that is not streamed."""
    return json.dumps(ended(items, usage, incomplete)).encode()


def failed(code: str, text: str = "no", *items: Item) -> bytes:
    """Return a stream that fails after these items."""
    begun = response("in_progress")
    end = response("failed", error={"code": code, "message": text})
    return numbered(
        {"type": "response.created", "response": begun},
        *(one for number, item in enumerate(items) for one in item.all_events(number, "completed")),
        {"type": "response.failed", "response": end},
    )


def error(code: str | None, text: str = "no", param: str | None = None) -> bytes:
    """Return an error inside a stream."""
    return event(1, {"type": "error", "code": code, "message": text, "param": param})


def text(*pieces: str, prompt_tokens: int = 7) -> bytes:
    """Return a whole stream that says `pieces`, one token each."""
    return stream(message(*pieces), usage=usage(prompt_tokens, len(pieces)))
