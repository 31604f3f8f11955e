"""Every refusal reaches the official client as the exception that its users catch."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.e2e.checked_client import checked_client
from tests.e2e.stack import Stack
from tests.fleet import PATIENCE_S

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.model]

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]


def ask(client: OpenAI, model: str = "local", **fields: Any) -> None:
    """Ask for a short completion, with other fields in its body."""
    client.chat.completions.create(model=model, messages=HELLO, max_tokens=1, extra_body=fields)


@pytest.mark.parametrize("secret", ["sk-nself-" + "0" * 64, "sk-proj-of-another-place", "sk-nself-" + "x" * 5000])
def test_a_key_that_is_none_of_ours_is_an_authentication_error(stack: Stack, secret: str) -> None:
    """401, in time, with a code that a program can read."""
    with checked_client(stack.base_url, secret) as client, pytest.raises(openai.AuthenticationError) as caught:
        client.models.list()
    assert caught.value.code == "invalid_api_key"
    assert secret not in str(caught.value)


@pytest.mark.parametrize("header", ["", "Basic c2stbnNlbGY6", "Bearer"])
def test_no_bearer_token_is_an_authentication_error(stack: Stack, header: str) -> None:
    """The reply says how a key is sent, and in the header too."""
    with checked_client(stack.base_url, "none") as client, pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(default_headers={"Authorization": header}).models.list()
    assert caught.value.response.headers["www-authenticate"] == "Bearer"


def test_a_revoked_key_is_refused_though_it_was_cached(stack: Stack) -> None:
    """It worked, and was cached; the command line revokes it."""
    key = stack.new_key("to be revoked")
    with checked_client(stack.base_url, key.secret) as client:
        ask(client)
        client.models.list()
        stack.said("claw", "api", "keys", "revoke", key.id)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                client.models.list()
            except openai.AuthenticationError:
                break
        with pytest.raises(openai.AuthenticationError):
            ask(client)
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


def test_an_unknown_model_is_a_not_found_error(client: OpenAI) -> None:
    """For a completion and for its description."""
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, "llama-of-nobody")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("llama/of:nobody")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("gpt-4o", "OPENAI_API_KEY"),
        ("gemini-1.5-flash", "GEMINI_API_KEY"),
        ("claude-3-5-sonnet", "ANTHROPIC_API_KEY"),
    ],
)
def test_a_model_without_its_credential_names_the_variable(client: OpenAI, model: str, variable: str) -> None:
    """The page's names are accepted: what is missing is said, and no other tier answers in its place."""
    with pytest.raises(openai.BadRequestError, match=variable) as caught:
        ask(client, model)
    assert (caught.value.code, caught.value.param) == ("model_not_configured", "model")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"model": None}, "model"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": "much"}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ],
)
def test_a_wrong_field_is_a_bad_request_that_names_it(client: OpenAI, fields: dict[str, Any], param: str) -> None:
    """400 with the parameter in OpenAI's notation, never 422."""
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **fields)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_longer_than_the_context_is_a_bad_request(client: OpenAI, *, stream: bool) -> None:
    """Neither cut nor a server error: OpenAI's code, before any stream begins."""
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, stream=stream, messages=[{"role": "user", "content": "word " * 5000}])
    assert caught.value.code == "context_length_exceeded"


def test_requests_over_the_limit_are_a_rate_limit_error_with_retry_after(stack: Stack) -> None:
    """The third of two a minute is refused, says when to come back, and consumes nothing."""
    key = stack.new_key("slow", rpm=2)
    with checked_client(stack.base_url, key.secret) as client:
        left = []
        for _ in range(2):
            reply = client.chat.completions.with_raw_response.create(model="local", messages=HELLO, max_tokens=1)
            assert reply.headers["x-ratelimit-limit-requests"] == "2"
            left.append(reply.headers["x-ratelimit-remaining-requests"])
        assert left == ["1", "0"]
        with pytest.raises(openai.RateLimitError) as caught:
            ask(client)
    headers = caught.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 60
    assert caught.value.code == "rate_limit_exceeded"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert [entry["status"] for entry in stack.usage(key.id, 3)] == [200, 200, 429]


def test_every_reply_has_its_own_request_id_that_the_usage_log_knows(stack: Stack) -> None:
    """Of answers and refusals, as the client's `_request_id` and `request_id`."""
    key = stack.new_key("ids")
    ids = []
    with checked_client(stack.base_url, key.secret) as client:
        completion = client.chat.completions.create(model="local", messages=HELLO, max_tokens=1)
        ids.append(completion._request_id)
        ids.append(client.models.list()._request_id)
        with pytest.raises(openai.NotFoundError) as caught:
            ask(client, "nobody's")
        ids.append(caught.value.request_id)
    assert [entry["request_id"].replace("-", "") for entry in stack.usage(key.id, 3)] == [
        (one or "").removeprefix("req_") for one in ids
    ]


def test_a_raw_response_has_openai_s_headers(client: OpenAI) -> None:
    """Limits, request id and content type, also of a stream."""
    reply = client.chat.completions.with_raw_response.create(model="local", messages=HELLO, max_tokens=1)
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-ratelimit-limit-requests"] == "1000000"
    assert int(reply.headers["x-ratelimit-remaining-requests"]) < 1_000_000
    assert reply.headers["x-ratelimit-reset-requests"].endswith("s")
    with client.chat.completions.with_streaming_response.create(
        model="local", messages=HELLO, max_tokens=1, stream=True
    ) as streamed:
        assert streamed.headers["content-type"].startswith("text/event-stream")
        assert streamed.headers["cache-control"].startswith("no-cache")
        assert streamed.headers["x-accel-buffering"] == "no"
        assert "x-ratelimit-reset-requests" in streamed.headers
        list(streamed.iter_lines())


async def test_keys_are_checked_by_their_whole_text(stack: Stack) -> None:
    """A key without its last character, or with one more, is no key."""
    key = await asyncio.to_thread(stack.new_key)
    for wrong in (key.secret[:-1], key.secret + "0", key.secret.upper()):
        with checked_client(stack.base_url, wrong) as client, pytest.raises(openai.AuthenticationError):
            client.models.list()
