"""What the official client gets when a scripted model says just what a test wants to see arrive."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import openai
import pytest

from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import Act, json_answer, sse

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionMessageParam

    from tests.e2e.stack import Stack
    from tests.upstreams.scripted import ScriptedUpstream

pytestmark = pytest.mark.xdist_group("scripted")

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
STREAMS = 50
FIRST = openai_replies.chunk({"role": "assistant", "content": "first"})
REST = openai_replies.text(" second")


async def text_of(client: AsyncOpenAI) -> str:
    """Return a streamed answer, put together."""
    stream = await client.chat.completions.create(model="auto", messages=HELLO, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def test_fifty_streams_at_once_lose_repeat_and_reorder_nothing(
    scripted_client: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """Each has a hundred numbered tokens, and there are far fewer slots than streams."""
    tokens = [f"{number} " for number in range(100)]
    upstream.fallback = sse(openai_replies.text(*tokens))
    assert await asyncio.gather(*(text_of(scripted_client) for _ in range(STREAMS))) == ["".join(tokens)] * STREAMS


async def test_a_token_arrives_while_the_next_one_is_not_there_yet(
    scripted_client: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """The model goes on only once the client has read the first token."""
    seen = asyncio.Event()
    upstream.add(sse(FIRST, seen, REST))
    stream = await scripted_client.chat.completions.create(model="auto", messages=HELLO, stream=True)
    said = []
    async for chunk in stream:
        said.append(chunk.choices[0].delta.content or "")
        if "first" in said:
            seen.set()
    assert "".join(said) == "first second"


async def test_several_choices_keep_apart(scripted_client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """n=2 with the tokens of both mixed: each choice has its own, streaming and not."""
    pieces = [({"content": "a"}, 0), ({"content": "b"}, 1), ({"content": "A"}, 0), ({"content": "B"}, 1)]
    said = b"".join(openai_replies.chunk(delta, index=index) for delta, index in pieces)
    ends = b"".join(openai_replies.chunk(finish_reason="stop", index=index) for index in (1, 0))
    counted = openai_replies.chunk(usage=openai_replies.usage(7, 4)) + openai_replies.DONE
    upstream.fallback = sse(said + ends + counted)
    whole = await scripted_client.chat.completions.create(model="auto", messages=HELLO, n=2)
    assert [(choice.index, choice.message.content) for choice in whole.choices] == [(0, "aA"), (1, "bB")]
    streamed = ["", ""]
    async for chunk in await scripted_client.chat.completions.create(model="auto", messages=HELLO, n=2, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == ["aA", "bB"]
    assert [request.body["n"] for request in upstream.requests] == [2, 2]


async def test_a_tool_call_reaches_the_client_whole(scripted_client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """In pieces on the way, one call with its arguments in the client's hands."""
    head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    pieces = [head, *({"index": 0, "function": {"arguments": piece}} for piece in ('{"city":', '"Rome"}'))]
    upstream.fallback = sse(
        *(openai_replies.chunk({"tool_calls": [piece]}) for piece in pieces),
        openai_replies.chunk(finish_reason="tool_calls"),
        openai_replies.chunk(usage=openai_replies.usage(20, 9)),
        openai_replies.DONE,
    )
    whole = await scripted_client.chat.completions.create(model="auto", messages=HELLO)
    calls = whole.choices[0].message.tool_calls or []
    assert calls[0].type == "function"
    assert (calls[0].id, calls[0].function.arguments) == ("call_1", '{"city":"Rome"}')
    async with scripted_client.chat.completions.stream(model="auto", messages=HELLO) as stream:
        final = await stream.get_final_completion()
    assert (final.choices[0].message.tool_calls or [])[0].model_dump()["function"]["arguments"] == '{"city":"Rome"}'


async def test_other_alphabets_and_a_fresh_start_of_each_line_arrive(
    scripted_client: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """Characters of several bytes, cut apart at every byte on the way from the model; line ends within tokens."""
    pieces = ("Grü", "ße 🌍", "日本\n\n", "data: [DONE]\n\n", "\u2028\r")
    upstream.add(sse(openai_replies.text(*pieces), split=1))
    assert await text_of(scripted_client) == "".join(pieces)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failing_model_server_is_a_bad_gateway(
    scripted_client: AsyncOpenAI, upstream: ScriptedUpstream, *, stream: bool
) -> None:
    """Before any content a stream keeps the error's own status too; the server's text stays hidden."""
    upstream.fallback = json_answer({"error": {"message": "secret-host crashed", "type": "server_error"}}, status=500)
    with pytest.raises(openai.InternalServerError) as caught:
        await scripted_client.chat.completions.create(model="auto", messages=HELLO, stream=stream)
    assert caught.value.status_code == 502
    assert "secret-host" not in str(caught.value)


async def test_a_stream_that_breaks_off_is_an_error_and_no_end(
    scripted_client: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """The client raises after the tokens that came, instead of taking them for the whole answer."""
    upstream.add(sse(FIRST, Act.ABORT))
    stream = await scripted_client.chat.completions.create(model="auto", messages=HELLO, stream=True)
    said = []

    async def read() -> None:
        async for chunk in stream:
            said.append(chunk.choices[0].delta.content or "")  # noqa: PERF401 -- what comes before the error counts

    with pytest.raises(openai.APIError) as caught:
        await read()
    assert "".join(said) == "first"
    assert caught.value.code == "upstream_stream_broken"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_stops_the_model_and_is_logged_as_499(
    scripted: Stack, upstream: ScriptedUpstream, *, stream: bool, begun: bool
) -> None:
    """Streaming or not, before the first token or after it: the upstream call ends, the log says so."""
    key = await asyncio.to_thread(scripted.new_key, "leaves")
    aborted = upstream.aborted
    upstream.add(sse(*([FIRST] if begun else []), Act.HANG))
    body = {"model": "auto", "messages": HELLO, "stream": stream}
    headers = {"authorization": f"Bearer {key.secret}"}
    async with httpx.AsyncClient(trust_env=False, headers=headers, timeout=60) as http:
        call = asyncio.ensure_future(http.post(f"{scripted.url}/v1/chat/completions", json=body))
        await upstream.until(lambda: len(upstream.requests) == 1)
        call.cancel()
        await asyncio.wait([call])
    await upstream.until(lambda: upstream.aborted == aborted + 1)
    assert [entry["status"] for entry in await asyncio.to_thread(scripted.usage, key.id, 1)] == [499]
    table = await asyncio.to_thread(scripted.said, "claw", "api", "usage", "--key", key.id)
    assert table.splitlines()[1].split()[-2:] == ["499", "cancelled"]


async def test_a_client_that_stops_reading_a_stream_is_logged_as_499_with_its_tokens(
    scripted: Stack, upstream: ScriptedUpstream
) -> None:
    """The official client closes its stream after a token."""
    key = await asyncio.to_thread(scripted.new_key, "stops")
    aborted = upstream.aborted
    upstream.add(sse(FIRST, Act.HANG))
    async with openai.AsyncOpenAI(base_url=scripted.base_url, api_key=key.secret, max_retries=0) as client:
        stream = await client.chat.completions.create(model="auto", messages=HELLO, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
    await upstream.until(lambda: upstream.aborted == aborted + 1)
    [row] = await asyncio.to_thread(scripted.usage, key.id, 1)
    assert (row["status"], row["completion_tokens"], row["usage_source"]) == (499, 1, "estimated")
