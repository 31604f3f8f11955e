"""Responses that broke off: what had come of them is stored, in items that OpenAI's document allows."""

from __future__ import annotations

import json
import random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dialects.base import ReplyHead
from shared.dialects.native import NativeReply
from shared.dialects.responses.request import ResponsesRequest
from shared.dialects.responses.response import NOTHING_REQUESTED, response_object
from shared.errors import Cancelled, GatewayError, StreamBroken
from shared.openai.request import ChatRequest
from tests.e2e.response_rules import response_faults
from tests.upstreams.openai import responses as replies
from workers.providers.openai.responses.native import NativeReader

HEAD: Final = ReplyHead("0" * 32, 1_700_000_001, "gpt-6-luna")
ITEMS: Final = (
    replies.reasoning("h", "m"),
    replies.web_search(),
    replies.message("Hel", "lo", item_id="msg_2"),
    replies.custom_call("ls", " -l"),
    replies.call('{"a":', "1}", call_id="call_9"),
    replies.refusal("I can", "not."),
)


def split(stream: bytes) -> list[bytes]:
    """Return the events of a stream."""
    return [event + b"\n\n" for event in stream.split(b"\n\n") if event]


def faults_of(output: list[dict[str, Any]]) -> list[str]:
    """Return what is wrong with items, by OpenAI's document."""
    return response_faults(response_object(HEAD, NOTHING_REQUESTED, status="failed", output=output))


def stored(events: list[bytes], error: GatewayError | None = None) -> dict[str, Any] | None:
    """Return what is stored of an answer of OpenAI's that ends after these events."""
    request = ChatRequest(b'{"model":"m","input":"x","store":true}', read=ResponsesRequest)
    assert isinstance(request.client, ResponsesRequest)
    reader, reply = NativeReader(), NativeReply(HEAD, request.client)
    for event in events:
        for made in reader.feed(event):
            reply.take(getattr(made, "native", None) or ())
        reply.result(StreamBroken("It is kept so far."))
    result = reply.result(error or StreamBroken("It broke."))
    return None if result is None else json.loads(result)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.done["id"])
def test_what_had_come_is_a_part_of_the_whole(item: replies.Item) -> None:
    """Wherever it breaks off: texts only grow, up to the item itself."""
    events = split(replies.stream(item, usage=replies.usage(7, 2)))
    before = ""
    for count in range(1, len(events)):
        response = stored(events[:count])
        if response is None:
            continue
        assert faults_of(response["output"]) == []
        assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
        said = "".join(_texts(response["output"]))
        assert said.startswith(before)
        before = said
    assert response is not None
    assert response["output"] == [item.with_status("completed")]


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        found = [inner for name, inner in value.items() if name in {"text", "refusal", "arguments", "input"}]
        return [text for text in found if isinstance(text, str)] + [
            text for inner in value.values() for text in _texts(inner)
        ]
    return [text for inner in value for text in _texts(inner)] if isinstance(value, list) else []


def test_a_cancelled_one_says_so() -> None:
    """With what had come, and no error."""
    events = split(replies.stream(replies.message("Hel", "lo")))
    response = stored(events[:5], Cancelled("The client has left."))
    assert response is not None
    assert (response["status"], response["error"], _texts(response["output"])) == ("cancelled", None, ["Hel"])


@given(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=4, unique_by=id), st.randoms(), st.integers(0, 30))
def test_no_order_of_events_is_a_fault_of_ours(items: list[replies.Item], order: random.Random, count: int) -> None:
    """Shuffled, doubled and broken off anywhere: what is stored keeps OpenAI's rules, or there is nothing."""
    begun, *events = split(replies.stream(*items, usage=replies.usage(7, 2)))
    events += order.sample(events, len(events) // 2)
    order.shuffle(events)
    response = stored([begun, *events[:count]])
    if response is not None and response["status"] == "failed":
        assert faults_of(response["output"]) == []
