"""Gemini's streamGenerateContent: its replies turned into events. Pure: no I/O.

Source of the shapes: google.ai.generativelanguage.v1beta (GenerateContentResponse, Candidate, UsageMetadata,
LogprobsResult) and the types of google-genai; how errors stand inside a stream: google-genai's `_api_client.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from msgspec import Raw, Struct

from shared.errors import GatewayError, Rejected, StreamBroken, Unavailable
from shared.types import Delta, Event, Finish, FinishReason, ToolCallDelta, Usage
from workers.providers.gemini.citations import to_annotations
from workers.providers.gemini.code import code_text, result_text
from workers.providers.gemini.errors import from_body, to_stream_error
from workers.providers.gemini.signed import to_extra_content
from workers.providers.gemini.spelling import in_camel_case
from workers.providers.http.lines import EventReader
from workers.providers.http.usage_report import count_at, later_report, read_report
from workers.providers.replies.call_arguments import to_text
from workers.providers.replies.finish import End, finish_reason
from workers.providers.replies.json_reader import Text, Word, json_reader
from workers.providers.replies.tool_calls import ToolCalls
from workers.providers.replies.wrapped import has_any, unwrapped

if TYPE_CHECKING:
    from collections.abc import Collection

_NULL = Raw(b"null")


class _FunctionCall(Struct):
    name: Word = ""
    args: dict[str, Any] | str | None = None
    id: Word | None = None


class _Part(Struct, rename="camel"):
    text: Text | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _FunctionCall | None = None
    inline_data: Raw = _NULL
    file_data: Raw = _NULL
    executable_code: Raw = _NULL
    code_execution_result: Raw = _NULL

    @property
    def shown_text(self) -> str:
        """Return its text, and code that was run for the answer as text."""
        text = self.text or ""
        if self.executable_code != _NULL:
            text += code_text(self.executable_code)
        if self.code_execution_result != _NULL:
            text += result_text(self.code_execution_result)
        return text


class _Content(Struct):
    bare_array: ClassVar = "parts"
    parts: list[_Part] | None = None


class _Token(Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0

    def to_object(self) -> dict[str, Any]:
        return {"token": self.token, "logprob": self.log_probability, "bytes": list(self.token.encode())}


class _Tokens(Struct):
    candidates: list[_Token] | None = None


class _Logprobs(Struct, rename="camel"):
    chosen_candidates: list[_Token] | None = None
    top_candidates: list[_Tokens] | None = None


class _Candidate(Struct, rename="camel"):
    index: int = 0  # JSON of protocol buffers leaves zeros out
    content: _Content | None = None
    finish_reason: End | None = None
    logprobs_result: _Logprobs | None = None
    grounding_metadata: Any = None
    citation_metadata: Any = None


class _Feedback(Struct, rename="camel"):
    block_reason: str | None = None


class _Chunk(Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: Raw = _NULL
    error: Any = None


class _Choice:
    """The state of one choice so far."""

    def __init__(self, ids: set[str], names: Collection[str]) -> None:
        self.calls = ToolCalls(ids, names)
        self.has_content = False
        self.reason: FinishReason | None = None
        self.text: list[str] = []
        self.grounding: Any = None
        self.citation: Any = None


_read_chunk = json_reader(_Chunk, takes_anything=True)
_NOTHING: Final = _Chunk()
_is_chunk: Final = has_any(
    "candidates", "promptFeedback", "prompt_feedback", "usageMetadata", "usage_metadata", "error"
)


class ChatReader(EventReader):
    """Reads one reply, a stream of server-sent events, into events.

    There is no end mark: the reply ends with its body, and only then it is known that a finish reason was the last
    word, since some models and proxies send one with every chunk. Usage is cumulative: the last counts.

    Args:
        choices: how many were asked for.
        names: of the tools that can be called.

    Attributes:
        signatures: the thought signatures that came since the caller last emptied it, by call id.
    """

    def __init__(self, choices: int = 1, names: Collection[str] = ()) -> None:
        super().__init__()
        self.signatures: dict[str, str] = {}
        self._requested, self._names = choices, names
        self._choices: dict[int, _Choice] = {}
        self._call_ids: set[str] = set()
        self._report: dict[str, Any] = {}
        self._is_blocked = False

    def take_event(self, name: str, data: bytes, events: list[Event]) -> None:  # noqa: ARG002 -- events have no name
        """Append the events of a chunk."""
        self._take_chunk(data, events)

    def take_whole(self, body: bytes, events: list[Event]) -> None:
        """Append the events of a reply that is one chunk, or fail for an error in the stream."""
        self._take_chunk(body, events)

    def complete(self, events: list[Event]) -> None:
        """Append the ends of all choices and the usage.

        Raises:
            StreamBroken: a choice has no finish reason.
            Unavailable: nothing at all was said.
        """
        if self._is_blocked and not self._choices:
            events.extend(Finish("content_filter", index) for index in range(self._requested))
        else:
            finishes = self._finishes()
            events.extend(self._citations())
            events.extend(finishes)
        self.done = True
        usage = _to_usage(self._report)
        if usage is not None:
            events.append(usage)

    def _finishes(self) -> list[Finish]:
        choices = sorted(self._choices.items())
        finishes = []
        for index, choice in choices:
            if choice.reason is None:
                break
            is_call = choice.calls and choice.reason == "stop"  # calls may come after their reason
            finishes.append(Finish("tool_calls" if is_call else choice.reason, index))
        if not finishes or len(finishes) < len(choices):
            raise StreamBroken("The model server's answer ended without a finish reason.")
        if all(choice.reason == "stop" and not choice.has_content for _, choice in choices):
            raise Unavailable("The model server sent an empty answer.")
        return finishes

    def _citations(self) -> list[Delta]:
        """Return what the choices cite: it is repeated, and its places are those of the whole text."""
        found = []
        for index, choice in sorted(self._choices.items()):
            if choice.grounding or choice.citation:
                grounding, citation = in_camel_case(choice.grounding), in_camel_case(choice.citation)
                annotations = to_annotations(grounding, citation, "".join(choice.text))
                found += [Delta(annotations=annotations, index=index)] if annotations else []
        return found

    def _take_chunk(self, payload: bytes, events: list[Event]) -> None:
        chunk = _read_chunk(payload)
        if chunk == _NOTHING and (inner := unwrapped(payload, _is_chunk)) is not None:
            chunk, payload = _read_chunk(inner), inner
        if chunk.error:
            raise to_stream_error(from_body(payload), after_content=self.has_content)
        if chunk.usage_metadata != _NULL:
            self._report = later_report(self._report, chunk.usage_metadata)
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
            self._is_blocked = True
        for candidate in chunk.candidates or ():
            choice = self._choices.get(candidate.index)
            if choice is None:
                choice = self._choices[candidate.index] = _Choice(self._call_ids, self._names)
            self._take_candidate(candidate, choice, events)
            if candidate.finish_reason and candidate.finish_reason != "FINISH_REASON_UNSPECIFIED":
                choice.reason = self._reason(candidate.finish_reason)

    def _take_candidate(self, candidate: _Candidate, choice: _Choice, events: list[Event]) -> None:
        content, reasoning = "", ""
        calls: list[ToolCallDelta] = []
        images: list[Any] = []
        for part in (candidate.content and candidate.content.parts) or ():
            if (called := part.function_call) is not None and (called.name or called.args):
                calls.append(self._to_call(called, part.thought_signature, choice))
            elif part.thought:
                reasoning += part.shown_text  # and no drafts of images
            elif part.inline_data != _NULL or part.file_data != _NULL:
                images.append(self._to_image(part))
            else:
                content += part.shown_text
        if content:
            choice.text.append(content)
        choice.grounding = candidate.grounding_metadata or choice.grounding
        choice.citation = candidate.citation_metadata or choice.citation
        logprobs = _to_logprobs(candidate.logprobs_result) if candidate.logprobs_result else None
        if content or reasoning or calls or images or logprobs is not None:
            self.has_content = choice.has_content = True
            delta = Delta(content or None, reasoning or None, None, calls or None, logprobs, candidate.index)
            if images:
                delta.extra = {"images": images}
            events.append(delta)

    def _to_image(self, part: _Part) -> dict[str, Any]:
        """Return an image in OpenRouter's form."""
        blob = in_camel_case({**read_report(part.file_data), **read_report(part.inline_data)})
        mime_type, encoded, address = blob.get("mimeType"), blob.get("data"), blob.get("fileUri")
        if isinstance(mime_type, str) and mime_type.startswith("image/"):
            url = f"data:{mime_type};base64,{encoded}" if isinstance(encoded, str) else address
            if isinstance(url, str) and url:
                return {"type": "image_url", "image_url": {"url": url}}
        raise self._failure("The model server answered with something other than text and images.")

    def _to_call(self, call: _FunctionCall, signature: str | None, choice: _Choice) -> ToolCallDelta:
        """Return a call under Gemini's id if it gave one that is its own: some models repeat ids within a reply."""
        delta = choice.calls.add(call.name, call.id, to_text(call.args), to_extra_content(signature))
        if signature and delta.id:
            self.signatures[delta.id] = signature
        return delta

    def _reason(self, reason: str) -> FinishReason:
        known = finish_reason(reason, has_calls=False)
        if known is not None:
            return known
        if reason == "PUP_LIMITED_DISABLED" and not self.has_content:
            raise Rejected("The model server has limited the gateway's account.")
        raise self._failure("The model server did not finish its answer.", reason.lower())

    def _failure(self, message: str, code: str | None = None) -> GatewayError:
        return StreamBroken(message) if self.has_content else Unavailable(message, code=code)


def _to_usage(report: dict[str, Any]) -> Usage | None:
    report = in_camel_case(report)
    prompt = count_at(report, "promptTokenCount")
    if prompt is None:
        return None
    thoughts = count_at(report, "thoughtsTokenCount") or 0
    return Usage(
        prompt_tokens=prompt + (count_at(report, "toolUsePromptTokenCount") or 0),
        # Google counts thoughts beside the answer, OpenAI as a part of it.
        completion_tokens=(count_at(report, "candidatesTokenCount") or 0) + thoughts,
        cached_tokens=count_at(report, "cachedContentTokenCount") or 0,
        reasoning_tokens=thoughts,
    )


def _to_logprobs(result: _Logprobs) -> Raw | None:
    """Convert Gemini's log probabilities to OpenAI's `logprobs` of a choice."""
    chosen, top = result.chosen_candidates or [], result.top_candidates or []
    if not chosen:
        return None
    others = [[other.to_object() for other in step.candidates or ()] for step in top]
    others += [[]] * (len(chosen) - len(others))
    content = [{**token.to_object(), "top_logprobs": rest} for token, rest in zip(chosen, others, strict=False)]
    return Raw(msgspec.json.encode({"content": content, "refusal": None}))
