"""What the answer itself is, a server may send as JSON of any type, and as images: none of it is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import StreamBroken, Unavailable
from shared.openai.reply import ChunkEncoder, CompletionFold
from shared.types import Usage
from tests.unit.workers.providers.test_oddities import read
from tests.upstreams.mutations import Oddity
from tests.upstreams.outcome import WIRES, outcome_of

if TYPE_CHECKING:
    from shared.types import Event

PIXEL = "data:image/png;base64,AAAA"
IMAGE: dict[str, Any] = {"type": "image_url", "image_url": {"url": PIXEL}}
BLOB: dict[str, Any] = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}


def sse(*events: Any) -> bytes:
    """Return a stream of server-sent events."""
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def gemini(*parts: Any) -> bytes:
    """Return Gemini's stream of these parts, one an event."""
    candidates: list[Any] = [{"content": {"parts": [part]}} for part in parts]
    candidates[-1]["finishReason"] = "STOP"
    return sse(*[{"candidates": [candidate]} for candidate in candidates])


def of_openai(*pieces: Any) -> bytes:
    """Return OpenAI's stream of these deltas."""
    ends = [{"choices": [{"delta": {}, "finish_reason": "stop"}]}]
    return sse(*[{"choices": [{"delta": piece}]} for piece in pieces], *ends)


def whole(**message: Any) -> bytes:
    """Return OpenAI's answer that is not streamed."""
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()


def saying(wire: str, *contents: Any) -> bytes:
    """Return a stream whose answer comes as these values, whatever they are."""
    if wire == "openai":
        return of_openai(*[{"content": content} for content in contents])
    if wire == "openai-responses":
        said = [{"type": "response.output_text.delta", "delta": content} for content in contents]
        return sse(*said, {"type": "response.completed", "response": {}})
    if wire == "gemini":
        return gemini(*[{"text": content} for content in contents])
    if wire == "ollama":
        lines: list[Any] = [{"message": {"content": content}} for content in contents]
        lines.append({"done": True, "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 1})
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": content}}
              for content in contents]  # fmt: skip
    begin = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return sse(
        begin, *deltas, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}
    )


values = st.recursive(
    st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans(),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b"]), inner, min_size=1) | st.lists(inner, min_size=1),
)


@given(st.lists(values, min_size=1, max_size=3))
@pytest.mark.parametrize("wire", WIRES)
def test_a_content_of_any_type_is_what_it_is_as_json(wire: str, contents: list[Any]) -> None:
    """Servers that decode what looks like JSON send 7 where the model said `7`, and an object where it said one."""
    spaced = [piece for content in contents for piece in (content, " ")]
    events = read(wire, Oddity("content", saying(wire, *spaced, "end")))
    said = outcome_of(events).content
    decoder, at = json.JSONDecoder(), 0
    for content in contents:
        found, at = decoder.raw_decode(said, at)
        assert found == content
        assert type(found) is type(content)
        at += 1
    assert said[at:] == "end"


@pytest.mark.parametrize(
    "content",
    [[{"type": "text", "text": "7"}, {"text": 0}], {"type": "text", "text": "70"}, ["7", "0"], ["70", None], 70],
)
def test_a_whole_message_is_read_as_a_stream_is(content: Any) -> None:
    """Also where it is of parts, or of one."""
    for reply in (whole(content=content), of_openai({"content": content})):
        assert outcome_of(read("openai", Oddity("content", reply))).content == "70"


def images_of(events: list[Event]) -> list[Any]:
    """Return the images that the client gets, streamed and not."""
    fold, encoder = CompletionFold(), ChunkEncoder("id", 0, "m", include_usage=False)
    streamed: list[Any] = []
    for event in events:
        fold.add(event)
        if not isinstance(event, Usage):
            for line in encoder.encode(event).decode().split("\n\n"):
                delta = json.loads(line.removeprefix("data: "))["choices"][0]["delta"] if line else {}
                streamed += delta.get("images", ())
    message = json.loads(fold.body("id", 0, "m", Usage(0, 0)))["choices"][0]["message"]
    assert message.get("images", []) == streamed
    return streamed


@pytest.mark.parametrize(
    ("wire", "reply", "text"),
    [
        ("openai", of_openai({"content": "See"}, {"images": [IMAGE]}, {"images": [IMAGE]}), "See"),
        ("openai", of_openai({"content": [{"type": "text", "text": "See"}, IMAGE]}, {"images": [IMAGE]}), "See"),
        ("openai", whole(content="See", images=[IMAGE, IMAGE]), "See"),
        ("openai", whole(content=None, images=[IMAGE, IMAGE]), ""),
        ("gemini", gemini({"text": "See"}, BLOB, BLOB), "See"),
        ("gemini", gemini({**BLOB, "thought": True}, BLOB, BLOB), ""),
    ],
)
def test_images_of_an_answer_reach_the_client(wire: str, reply: bytes, text: str) -> None:
    """Whole and in the same form from all, streamed and not; drafts of a model that thinks are none."""
    events = read(wire, Oddity("images", reply))
    assert images_of(events) == [IMAGE, IMAGE]
    assert outcome_of(events).content == text


@pytest.mark.parametrize(
    "blob", [{"mimeType": "audio/wav", "data": "AAAA"}, {"data": "AAAA"}, {"mimeType": "image/png"}]
)
def test_what_an_answer_cannot_hold_is_a_failure(blob: dict[str, Any]) -> None:
    """Sound, and data without a type, are not dropped in silence."""
    with pytest.raises(Unavailable):
        read("gemini", Oddity("sound", gemini({"inlineData": blob})))
    with pytest.raises(StreamBroken):
        read("gemini", Oddity("sound", gemini({"text": "Listen"}, {"inlineData": blob})))
