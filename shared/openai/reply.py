"""OpenAI's chat replies, made of model events: chunks for a stream, one body otherwise. Pure.

Source of the shapes: OpenAI's OpenAPI document, schemas CreateChatCompletionStreamResponse and
CreateChatCompletionResponse. Both forms are made of the same events, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from shared.models.parameters import VALUES
from shared.openai.extra_fields import add_extra
from shared.types import Delta, Event, Finish, FinishReason, ToolCallDelta, Usage

_TIERS: Final = {"standard": "default", "on_demand": "default"}
"""Anthropic's and Groq's words for the tier that OpenAI calls `default`."""
DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.encode


def error_event(error: dict[str, Any]) -> bytes:
    """Return an error inside a stream that has begun: a data event with OpenAI's error object."""
    return b"data: " + _encode({"error": error}) + b"\n\n"


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return OpenAI's CompletionUsage."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": usage.prompt_audio_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.completion_audio_tokens,
            "accepted_prediction_tokens": usage.accepted_prediction_tokens,
            "rejected_prediction_tokens": usage.rejected_prediction_tokens,
        },
    }


def tool_call_object(call: ToolCallDelta) -> dict[str, Any]:
    """Return one piece of a tool call in a stream (ChatCompletionMessageToolCallChunk)."""
    function: dict[str, Any] = {"arguments": call.arguments}
    extra = {} if call.extra_content is None else {"extra_content": call.extra_content}
    if call.id is None:
        return {"index": call.index, "function": function, **extra}
    return {
        "index": call.index,
        "id": call.id,
        "type": "function",
        "function": {"name": call.name or "", **function},
        **extra,
    }


def tier_object(service_tier: str) -> dict[str, str]:
    """Return the field of a reply that says which tier served it, in OpenAI's words; nothing for a tier of others."""
    tier = _TIERS.get(service_tier, service_tier)
    return {"service_tier": tier} if tier in VALUES["service_tier"] else {}


class ChunkEncoder:
    """Turns the events of one completion into the bytes of its SSE stream.

    `id`, `created` and `model` are the same in every chunk; the role stands in a choice's first chunk only.

    Args:
        completion_id: the `id` of every chunk.
        created: seconds since 1970.
        model: the model that serves the request.
        include_usage: whether the client asked for `stream_options.include_usage`.
        legacy_calls: whether it gave `functions`, and so wants `function_call`.
    """

    def __init__(
        self, completion_id: str, created: int, model: str, *, include_usage: bool, legacy_calls: bool = False
    ) -> None:
        head = {"id": completion_id, "object": "chat.completion.chunk", "created": created, "model": model}
        # Encoded once for all chunks of a stream: what is left to do for a token is its text.
        self._head = b"data: " + _encode(head)[:-1] + b',"choices":['
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._include_usage = include_usage
        self._legacy_calls = legacy_calls
        self._content_prefix = self._head + b'{"index":0,"delta":{"content":'
        self._content_suffix = b'},"logprobs":null,"finish_reason":null}' + self._tail
        self._begun: set[int] = set()

    def encode(self, event: Delta | Finish) -> bytes:
        """Return the chunk or chunks of an event."""
        begin = b"" if event.index in self._begun else self._begin(event)
        if isinstance(event, Finish):
            return begin + self._end_chunk(event)
        if (
            # Nearly every token is only this.
            event.content is not None
            and event.index == 0
            and event.logprobs is None
            and event.tool_calls is None
            and event.reasoning is None
            and event.refusal is None
            and event.annotations is None
            and event.extra is None
        ):
            return begin + self._content_prefix + _encode(event.content) + self._content_suffix
        delta = delta_object(event, legacy_calls=self._legacy_calls)
        if not delta and event.logprobs is None:
            return begin
        return begin + self._chunk(event.index, delta, event.logprobs, None)

    def end(self, usage: Usage) -> bytes:
        """Return what closes the stream: the usage chunk where it was asked for, and the end mark."""
        if not self._include_usage:
            return DONE
        tier = _encode(tier_object(usage.service_tier))[1:-1]
        return (
            self._head + b'],"usage":' + _encode(usage_object(usage)) + (b"," + tier if tier else b"") + b"}\n\n" + DONE
        )

    def _begin(self, event: Delta | Finish) -> bytes:
        self._begun.add(event.index)
        # As OpenAI does: null beside calls, an empty text before one that is to come.
        only_calls = isinstance(event, Delta) and event.tool_calls is not None and event.content is None
        delta = {"role": "assistant", "content": None if only_calls else "", "refusal": None}
        return self._chunk(event.index, delta, None, None)

    def _end_chunk(self, end: Finish) -> bytes:
        reason = finish_reason(end.reason, self._legacy_calls)
        choice: dict[str, Any] = {"index": end.index, "delta": {}, "logprobs": None, "finish_reason": reason}
        choice |= stop_object(end.stop)
        tier = _encode(tier_object(end.service_tier))[1:-1]
        tail = b"]," + tier + self._tail[1:] if tier else self._tail
        return self._head + _encode(choice) + tail

    def _chunk(self, index: int, delta: dict[str, Any], logprobs: msgspec.Raw | None, reason: str | None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._head + _encode(choice) + self._tail


def finish_reason(reason: FinishReason, legacy_calls: bool) -> FinishReason:  # noqa: FBT001 -- its only switch
    """Return the reason as the client knows it: a call has one name among tools and another among functions."""
    if reason in {"tool_calls", "function_call"}:
        return "function_call" if legacy_calls else "tool_calls"
    return reason


def function_call_object(calls: Iterable[ToolCallDelta]) -> dict[str, Any]:
    """Return the piece of a `function_call` in a stream. A reply has one, the model's first; its name comes once."""
    call = next((call for call in calls if call.index == 0), None)
    if call is None:
        return {}
    name = {} if call.id is None else {"name": call.name or ""}
    return {"function_call": {**name, "arguments": call.arguments}}


def delta_object(delta: Delta, *, legacy_calls: bool = False) -> dict[str, Any]:
    """Return the `delta` of a chunk: only what is new in it."""
    fields: dict[str, Any] = {}
    if delta.content is not None:
        fields["content"] = delta.content
    if delta.reasoning is not None:
        fields["reasoning_content"] = delta.reasoning
    if delta.refusal is not None:
        fields["refusal"] = delta.refusal
    if delta.annotations is not None:
        fields["annotations"] = delta.annotations
    if delta.extra is not None:
        fields |= delta.extra
    if delta.tool_calls is not None and legacy_calls:
        fields |= function_call_object(delta.tool_calls)
    elif delta.tool_calls is not None:
        fields["tool_calls"] = [tool_call_object(call) for call in delta.tool_calls]
    return fields


def stop_object(stop: str | None) -> dict[str, str]:
    """Return the field of a choice that says which stop sequence ended it: vLLM's name, as OpenAI has none."""
    return {} if stop is None else {"stop_reason": stop}


class _Choice:
    """One choice, as its events add up."""

    def __init__(self) -> None:
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int, tuple[ToolCallDelta, list[str]]] = {}
        self.annotations: list[Any] = []
        self.extra: dict[str, Any] = {}
        self.end: Finish | None = None
        self.logprobs: dict[str, list[Any]] | None = None

    def add(self, delta: Delta) -> None:
        if delta.content is not None:
            self.content.append(delta.content)
        if delta.reasoning is not None:
            self.reasoning.append(delta.reasoning)
        if delta.refusal is not None:
            self.refusal.append(delta.refusal)
        for call in delta.tool_calls or ():
            first, arguments = self.calls.setdefault(call.index, (call, []))
            arguments.append(call.arguments)
            if call.extra_content is not None and call is not first:
                first.extra_content = {**(first.extra_content or {}), **call.extra_content}
        self.annotations += delta.annotations or ()
        if delta.extra is not None:
            add_extra(self.extra, delta.extra)
        if delta.logprobs is not None:
            self._add_logprobs(msgspec.json.decode(delta.logprobs))

    def _add_logprobs(self, logprobs: dict[str, list[Any] | None] | None) -> None:
        merged = self.logprobs or {}
        for name, tokens in (logprobs or {}).items():
            merged[name] = merged.get(name, []) + (tokens or [])
        self.logprobs = merged

    def to_object(self, index: int, *, legacy_calls: bool) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self.content) if self.content or not self.calls else None,
            "refusal": "".join(self.refusal) if self.refusal else None,
            "annotations": self.annotations,
            **self.extra,
        }
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        made = [
            (call, {"name": call.name or "", "arguments": "".join(arguments) or "{}"})
            # By index, which need not be the order in which they began.
            for _, (call, arguments) in sorted(self.calls.items())
        ]
        if made and legacy_calls:
            message["function_call"] = made[0][1]
        elif made:
            message["tool_calls"] = [
                {
                    "id": call.id or "",
                    "type": "function",
                    "function": function,
                    **({} if call.extra_content is None else {"extra_content": call.extra_content}),
                }
                for call, function in made
            ]
        reason = None if self.end is None else finish_reason(self.end.reason, legacy_calls)
        stop = stop_object(None if self.end is None else self.end.stop)
        return {"index": index, "message": message, "logprobs": self.logprobs, "finish_reason": reason, **stop}


class CompletionFold:
    """Adds up the events of one completion into the body of a reply that is not streamed.

    Args:
        legacy_calls: whether the client gave `functions`, and so wants `function_call`.
    """

    def __init__(self, *, legacy_calls: bool = False) -> None:
        self._choices: dict[int, _Choice] = {}
        self._legacy_calls = legacy_calls

    def add(self, event: Event) -> None:
        """Add one event; `Usage` is the caller's to keep."""
        if isinstance(event, Usage):
            return
        if (choice := self._choices.get(event.index)) is None:
            choice = self._choices[event.index] = _Choice()
        if isinstance(event, Finish):
            choice.end = event
        else:
            choice.add(event)

    def choice(self, index: int) -> dict[str, Any]:
        """Return a choice as far as it has come."""
        return self._choices.get(index, _Choice()).to_object(index, legacy_calls=self._legacy_calls)

    def body(self, completion_id: str, created: int, model: str, usage: Usage) -> bytes:
        """Return the finished body: a CreateChatCompletionResponse."""
        choices = [self.choice(index) for index in sorted(self._choices)]
        return _encode(
            {
                "id": completion_id,
                "object": "chat.completion",
                "created": created,
                "model": model,
                "choices": choices,
                "usage": usage_object(usage),
                **tier_object(usage.service_tier),
            }
        )
