"""Ollama's native /api/chat: its replies turned into events, its errors classed. Pure: no I/O.

Source of the shapes: Ollama's api/types.go (ChatResponse, Metrics, Logprob) and docs/api.md.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from shared.errors import (
    ContextTooLong,
    GatewayError,
    InvalidRequest,
    Malformed,
    StreamBroken,
    Unavailable,
    Unsupported,
)
from shared.types import Delta, Event, Finish, ToolCallDelta, Usage
from workers.providers.http.error_body import Report, from_error, is_failure, stream_failure, template_failure
from workers.providers.http.lines import BOM, WORDS, LineReader
from workers.providers.http.usage_report import raw_count
from workers.providers.ollama.forced import ForcedCall
from workers.providers.replies.call_arguments import to_text
from workers.providers.replies.finish import End, finish_reason
from workers.providers.replies.json_reader import Text, Word, json_reader, values_in
from workers.providers.replies.tool_calls import ToolCalls
from workers.providers.replies.wrapped import unwrapped

_NULL = Raw(b"null")
NEARLY_ALL: Final = 0.9
# Ollama has no code for it: server/routes.go says `"name" does not support tools`, and of thinking either that or
# `think value "high" is not supported for this model`.
_UNSUPPORTED = re.compile(r"does not support \w+|think value")
_FIELDS: Final = {"tools": "tools", "thinking": "reasoning_effort", "value": "reasoning_effort"}


class _Function(Struct):
    name: Word = ""
    arguments: Any = None


class _ToolCall(Struct):
    function: _Function | None = None
    id: Word | None = None
    name: Word = ""  # where it has no function
    arguments: Any = None

    @property
    def called(self) -> _Function:
        """Return what is called; nothing where some servers put an empty call into an answer."""
        return self.function or _Function(self.name, self.arguments)


class _Message(Struct):
    content: Text | None = None
    thinking: Text | None = None
    tool_calls: list[_ToolCall] | None = None


class _TokenLogprob(Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None

    def to_object(self) -> dict[str, Any]:
        text = list(self.token.encode()) if self.bytes is None else self.bytes
        return {"token": self.token, "logprob": self.logprob, "bytes": text}


class _Logprob(_TokenLogprob):
    top_logprobs: list[_TokenLogprob] | None = None


class _Line(Struct):
    message: _Message | None = None
    done: bool = False
    done_reason: End | None = None
    prompt_eval_count: Raw = _NULL
    prompt_eval_cached_count: Raw = _NULL
    eval_count: Raw = _NULL
    logprobs: list[_Logprob] | None = None
    error: Any = None
    status: int | None = None


_OPENINGS: Final = (b"{", b"[")
_FRAME: Final = re.compile(rb"^(?:data:\s*)+")
_NO_LINE: Final = re.compile(rb":.*|(?:event|id|retry|data):\s*+(?:\[DONE\]|%b)" % WORDS.pattern)
"""Fields beside the lines where a proxy sends them as server-sent events."""
_read_line = json_reader(_Line, takes_anything=True)
_NOTHING: Final = _Line()


def _is_line(value: dict[str, Any]) -> bool:
    return isinstance(value.get("message"), dict) or any(map(value.get, ("done", "error")))


class ChatReader(LineReader):
    """Reads one reply, lines of JSON, into events.

    Usage is on the last line, and Ollama leaves a count out where it is zero: without `eval_count` nothing was
    made; but without `prompt_eval_count` (older versions count only what was not in their cache) the prompt's size
    is not known, so no `Usage` is made and the caller's estimate stands, marked as one.

    Args:
        cut_at: the context in tokens, where the prompt seems to be far too long for it: a count near it then means
            that the server has cut the prompt, though it was told not to.
        forced: the names of the functions of which the answer is a call.
    """

    def __init__(self, cut_at: int | None = None, forced: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._cut_at = cut_at
        self._calls = ToolCalls()
        self._bare: list[bytes] = []
        self._forced = ForcedCall(forced) if forced else None

    def take(self, line: bytes, events: list[Event]) -> None:
        """Append the events of a line."""
        line = line.removeprefix(BOM).strip()
        text = _FRAME.sub(b"", line)
        if self._bare or text in _OPENINGS:  # a reply that is no stream, over several lines
            self._bare.append(line)
        elif text and not _NO_LINE.fullmatch(line):
            self._take_values(text, events)

    def close(self, events: list[Event]) -> None:
        """Append the events of a reply that was not streamed, if it is one."""
        if self._bare:
            self._take_values(b"\n".join(self._bare), events)
        if not self.done:
            self.complete(events)

    def complete(self, events: list[Event]) -> None:  # noqa: ARG002 -- nothing can be made of such a reply
        """Raise StreamBroken: the last line is the only end mark."""
        raise StreamBroken("The model server's answer ended before its last line.")

    def _take_values(self, text: bytes, events: list[Event]) -> None:
        """Append the events of what is one reply, or several, or a list of them."""
        if text[:1] != b"[":
            try:
                self._take_reply(text, events)
            except Malformed:
                pass
            else:
                return
        for value in values_in(text):
            self._take_reply(value, events)
            if self.done:
                return

    def _take_reply(self, text: bytes, events: list[Event]) -> None:
        line = _read_line(text)
        if line == _NOTHING and (inner := unwrapped(text, _is_line)) is not None:
            line = _read_line(inner)
        if line.error and is_failure(line.error):
            report = from_error(line.error)
            report = msgspec.structs.replace(report, status=line.status or report.status)
            raise from_line_error(report, after_content=self.has_content)
        message = line.message
        if message is not None:
            calls = [
                self._to_call(call) for call in message.tool_calls or () if call.called.name or call.called.arguments
            ]
            if self._forced is not None and message.content:
                calls += self._forced.take(message.content, self._calls)
                message.content = None
            logprobs = _to_logprobs(line.logprobs) if line.logprobs else None
            if message.content or message.thinking or calls or logprobs:
                self.has_content = True
                events.append(Delta(message.content or None, message.thinking or None, None, calls or None, logprobs))
        if line.done:
            self._finish(line, events)

    def _to_call(self, call: _ToolCall) -> ToolCallDelta:
        return self._calls.add(call.called.name, call.id, to_text(call.called.arguments))

    def _finish(self, line: _Line, events: list[Event]) -> None:
        if self._forced is not None and (calls := self._forced.end(self._calls, after_content=self.has_content)):
            self.has_content = True
            events.append(Delta(tool_calls=calls))
        reason = finish_reason(line.done_reason or "stop", has_calls=bool(self._calls))
        if reason is None:  # load and unload answer requests without messages: there is no completion
            raise stream_failure(Report(), after_content=self.has_content)
        prompt_tokens = raw_count(line.prompt_eval_count)
        if self._cut_at is not None and (prompt_tokens or 0) >= NEARLY_ALL * self._cut_at:
            raise _was_cut(after_content=self.has_content)
        events.append(Finish(reason))
        if prompt_tokens is not None:
            cached = raw_count(line.prompt_eval_cached_count) or 0
            events.append(Usage(prompt_tokens, raw_count(line.eval_count) or 0, cached_tokens=cached))
        self.done = True


def _to_logprobs(tokens: list[_Logprob]) -> Raw:
    """Convert Ollama's log probabilities to OpenAI's `logprobs` of a choice."""
    content = [
        {**token.to_object(), "top_logprobs": [other.to_object() for other in token.top_logprobs or ()]}
        for token in tokens
    ]
    return Raw(msgspec.json.encode({"content": content, "refusal": None}))


def from_line_error(report: Report, *, after_content: bool) -> GatewayError:
    """Return the error for an `{"error": ...}` line inside a reply with status 200."""
    if not after_content and is_context_error(report):
        return ContextTooLong(report.message)
    return stream_failure(report, after_content=after_content)


def _was_cut(*, after_content: bool) -> GatewayError:
    text = "The prompt is longer than the model's context, and the model server has cut it."
    return StreamBroken(text) if after_content else ContextTooLong(text)


def from_status_error(failure: GatewayError, report: Report) -> GatewayError:
    """Return the error for a failure status: as classified, but for prompts too long and what a model cannot do."""
    if isinstance(failure, InvalidRequest | Unavailable) and is_context_error(report):
        return ContextTooLong(report.message)
    if (rejected := template_failure(report)) is not None:
        return rejected
    if isinstance(failure, InvalidRequest) and (found := _UNSUPPORTED.search(report.message)):
        return Unsupported(report.message, param=_FIELDS.get(found[0].rpartition(" ")[2]))
    return failure


def rejects_level(report: Report) -> bool:
    """Return whether Ollama says that a model thinks, but not by levels (`think value "high" is not supported`)."""
    return report.message.startswith("think value ")


def is_context_error(report: Report) -> bool:
    """Return whether Ollama says that the prompt is too long.

    It has no code for it: the error is a bare text, with status 400 (llm/llama_server.go and the runners'
    errorInputTooLong). This is the one place that knows those texts; a new wording makes it a plain InvalidRequest.
    """
    return report.code == "exceed_context_size_error" or any(
        phrase in report.message
        for phrase in (
            "exceeds the context length",
            "longer than the context length",
            "exceeds the available context size",
        )
    )
