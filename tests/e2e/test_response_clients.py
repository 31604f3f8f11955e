"""Clients that choose /v1/responses by themselves, or when told to: OpenAI's helpers, LangChain, OpenAI's agents.

Each asks for a text, a stream, a tool call, is told an error, and leaves in the middle, which stops the model: of a
local server, and of OpenAI over its own Responses API.
"""

# ruff: noqa: PLC0415 -- LangChain and the agents take 1.5 s to import, in each process that only collects tests

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import openai
import pytest
from pydantic import BaseModel, SecretStr

from tests.e2e.test_scripted_responses import WEATHER
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import sse

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI
    from openai import AsyncOpenAI

    from tests.e2e.served import Served
    from tests.upstreams.scripted import ScriptedUpstream

pytestmark = pytest.mark.xdist_group("scripted")


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Import what takes seconds before the first test: in one, the upstream on its event loop would answer nobody."""
    import agents  # noqa: F401 -- whether they are installed
    import langchain_openai  # noqa: F401 -- whether they are installed


THOUGHTFUL = sse(
    openai_replies.event({
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "scripted",
        "choices": [{"index": 0, "delta": {"role": "assistant", "reasoning_content": "Hm."}, "finish_reason": None}],
    }),
    openai_replies.text("Good", " day"),
)  # fmt: skip


class City(BaseModel):
    """What `.parse()` makes of an answer."""

    name: str


async def test_openais_client_asks_streams_calls_and_hears_of_errors(
    served_client: AsyncOpenAI, served: Served
) -> None:
    """It sends back the items that it got; a failing server's error keeps its status."""
    client, upstream = served_client, served.upstream
    upstream.add(served.say("Good", " day"), served.say("Good", " day"))
    whole = await client.responses.create(model="auto", input="Hello", instructions="Be kind.")
    async with client.responses.stream(model="auto", input="Hello", instructions="Be kind.") as stream:
        streamed = await stream.get_final_response()
    for response in (whole, streamed):
        assert (response.output_text, response.status, response.instructions) == ("Good day", "completed", "Be kind.")
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.output_tokens) == (7, 2)
    upstream.add(served.call(), served.say("Sunny."))
    called = await client.responses.create(model="auto", input="Weather?", tools=[WEATHER])
    call = called.output[0]
    assert call.type == "function_call"
    assert (call.call_id, call.name, call.arguments) == ("call_1", "weather", '{"city":"Rome"}')
    result = {"type": "function_call_output", "call_id": "call_1", "output": "sun"}
    items: Any = [{"role": "user", "content": "Weather?"}, *(item.to_dict() for item in called.output), result]
    assert (await client.responses.create(model="auto", input=items, tools=[WEATHER])).output_text == "Sunny."
    assert served.last_results() == ["sun"]
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="auto", input="Hello", temperature=9)
    assert (caught.value.param, caught.value.code) == ("temperature", "invalid_value")
    with pytest.raises(openai.InternalServerError) as failed:
        await client.responses.create(model="auto", input="Hello")  # the script is used up: the server fails
    assert failed.value.status_code == 502


async def test_openais_parse_gives_the_object(served_client: AsyncOpenAI, served: Served) -> None:
    """Of a form for the text, and of a tool's arguments."""
    served.upstream.add(served.say('{"name":', '"Rome"}'), served.call())
    answer = await served_client.responses.parse(model="auto", input="Which?", text_format=City)
    assert answer.output_parsed == City(name="Rome")
    assert b'"City"' in served.upstream.requests[-1].raw
    called = await served_client.responses.parse(
        model="auto",
        input="Weather?",
        tools=[{"type": "function", "name": "weather", "strict": True, "parameters": City.model_json_schema()}],
    )
    assert called.output[0].type == "function_call"
    assert called.output[0].parsed_arguments == {"city": "Rome"}


@pytest.mark.parametrize("stream", [False, True])
async def test_openais_client_that_leaves_stops_the_model(
    served_client: AsyncOpenAI, served: Served, *, stream: bool
) -> None:
    """After the first piece of a stream, and where nothing has come yet of an answer that is not streamed."""
    upstream, aborted = served.upstream, served.upstream.aborted
    upstream.add(served.hang())
    if stream:
        async with await served_client.responses.create(model="auto", input="Hello", stream=True) as events:
            async for event in events:
                if event.type == "response.output_text.delta":
                    break
    else:
        asking = asyncio.create_task(served_client.responses.create(model="auto", input="Hello"))
        await upstream.until(lambda: len(upstream.requests) == 1)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
    await upstream.until(lambda: upstream.aborted == aborted + 1)


async def test_thoughts_are_items_of_their_own(scripted_client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """As a text, or as the summary that was asked for; carried, they come back to the model."""
    upstream.fallback = THOUGHTFUL
    plain = await scripted_client.responses.create(model="auto", input="Hello")
    thought = plain.output[0]
    assert thought.type == "reasoning"
    assert [part.text for part in thought.content or ()] == ["Hm."]
    asked: Any = {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    async with scripted_client.responses.stream(model="auto", input="Hello", **asked) as stream:
        told = (await stream.get_final_response()).output
    assert told[0].type == "reasoning"
    assert [part.text for part in told[0].summary] == ["Hm."]
    items: Any = ["Hello", *(item.to_dict() for item in told), "And?"]
    items = [{"role": "user", "content": item} if isinstance(item, str) else item for item in items]
    items[1] = {**items[1], "summary": []}
    await scripted_client.responses.create(model="auto", input=items)
    assert upstream.requests[-1].body["messages"][1]["reasoning_content"] == "Hm."


def langchain(served: Served, **fields: Any) -> ChatOpenAI:
    """Return LangChain's client."""
    from langchain_openai import ChatOpenAI

    secret = SecretStr(served.secret)
    return ChatOpenAI(
        model="auto", base_url=served.base_url, api_key=secret, max_retries=0, use_responses_api=True, **fields
    )


async def test_langchain_asks_streams_calls_and_hears_of_errors(served: Served) -> None:
    """With `use_responses_api`, which it sets itself for newer models."""
    from langchain_core.messages import HumanMessage

    model, upstream = langchain(served), served.upstream
    upstream.add(served.say("Good", " day"), served.say("Good", " day"))
    answer = await model.ainvoke("Hello")
    assert answer.text == "Good day"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 2
    assert "".join([chunk.text async for chunk in model.astream("Hello")]) == "Good day"
    upstream.add(served.call(), served.say("Sunny."))
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    with_tools = model.bind_tools([tool])
    called = await with_tools.ainvoke("Weather?")
    assert called.tool_calls[0]["args"] == {"city": "Rome"}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "sun"}
    assert (await with_tools.ainvoke([HumanMessage("Weather?"), called, result])).text == "Sunny."
    assert served.last_results() == ["sun"]
    with pytest.raises(openai.BadRequestError, match="temperature"):
        await langchain(served, temperature=9).ainvoke("Hello")


async def test_openais_agents_run_their_tools(served_client: AsyncOpenAI, served: Served) -> None:
    """A call, its result, an answer; streamed too; and an error ends the run."""
    from agents import Agent, RunConfig, Runner, function_tool
    from agents.models.openai_responses import OpenAIResponsesModel

    @function_tool
    def weather(city: str) -> str:
        """Return the weather."""
        return f"sun over {city}"

    upstream = served.upstream
    agent = Agent(name="a", instructions="Help.", tools=[weather], model=OpenAIResponsesModel("auto", served_client))
    config = RunConfig(tracing_disabled=True)
    upstream.add(served.call(), served.say("Sunny."))
    assert (await Runner.run(agent, "Weather?", run_config=config)).final_output == "Sunny."
    assert served.last_results() == ["sun over Rome"]
    upstream.add(served.call(), served.say("Sun", "ny."))
    streamed = Runner.run_streamed(agent, "Weather?", run_config=config)
    said = [event async for event in streamed.stream_events() if event.type == "raw_response_event"]
    assert streamed.final_output == "Sunny."
    assert [event.data.delta for event in said if event.data.type == "response.output_text.delta"] == ["Sun", "ny."]
    lost = Agent(name="b", model=OpenAIResponsesModel("nobody-has-it", served_client))
    with pytest.raises(openai.NotFoundError):
        await Runner.run(lost, "Hello", run_config=config)


@pytest.mark.parametrize("stream", [False, True])
async def test_langchain_that_is_cancelled_stops_the_model(served: Served, *, stream: bool) -> None:
    """After the first piece of a stream, and where nothing has come yet of an answer that is not streamed."""
    upstream, model = served.upstream, langchain(served)
    aborted = upstream.aborted
    upstream.add(served.hang())
    if stream:
        chunks = model.astream("Hello")
        assert isinstance(chunks, AsyncGenerator)
        async with aclosing(chunks):
            async for chunk in chunks:
                if chunk.text:
                    break
    else:
        asking = asyncio.create_task(model.ainvoke("Hello"))
        await upstream.until(lambda: len(upstream.requests) == 1)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
    await upstream.until(lambda: upstream.aborted == aborted + 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_agents_run_that_is_cancelled_stops_the_model(
    served_client: AsyncOpenAI, served: Served, *, stream: bool
) -> None:
    """By its own `cancel`, and with the task that runs it."""
    from agents import Agent, RunConfig, Runner
    from agents.models.openai_responses import OpenAIResponsesModel

    upstream, aborted = served.upstream, served.upstream.aborted
    agent = Agent(name="a", model=OpenAIResponsesModel("auto", served_client))
    config = RunConfig(tracing_disabled=True)
    upstream.add(served.hang())
    if stream:
        run = Runner.run_streamed(agent, "Hello", run_config=config)
        async for event in run.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                run.cancel()
    else:
        running = asyncio.create_task(Runner.run(agent, "Hello", run_config=config))
        await upstream.until(lambda: len(upstream.requests) == 1)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    await upstream.until(lambda: upstream.aborted == aborted + 1)
