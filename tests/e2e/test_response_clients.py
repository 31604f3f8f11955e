"""Clients that choose /v1/responses by themselves, or when told to: OpenAI's helpers, LangChain, OpenAI's agents.

Each asks for a text, a stream, a tool call, is told an error, and leaves in the middle, which stops the model.
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

from tests.e2e.test_scripted_responses import CALL
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import Act, sse

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI
    from openai import AsyncOpenAI

    from tests.e2e.stack import Key, Stack
    from tests.upstreams.scripted import ScriptedUpstream

pytestmark = pytest.mark.xdist_group("scripted")


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Import what takes seconds before the first test: in one, the upstream on its event loop would answer nobody."""
    import agents  # noqa: F401
    import langchain_openai  # noqa: F401


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


async def test_openais_parse_gives_the_object(scripted_client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """Of a form for the text, and of a tool's arguments."""
    upstream.add(sse(openai_replies.text('{"name":', '"Rome"}')))
    answer = await scripted_client.responses.parse(model="auto", input="Which?", text_format=City)
    assert answer.output_parsed == City(name="Rome")
    assert upstream.requests[-1].body["response_format"]["json_schema"]["name"] == "City"
    upstream.add(CALL)
    called = await scripted_client.responses.parse(
        model="auto",
        input="Weather?",
        tools=[{"type": "function", "name": "weather", "strict": True, "parameters": City.model_json_schema()}],
    )
    assert called.output[0].type == "function_call"
    assert called.output[0].parsed_arguments == {"city": "Rome"}


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


def langchain(stack: Stack, key: Key, **fields: Any) -> ChatOpenAI:
    """LangChain's client."""
    from langchain_openai import ChatOpenAI

    secret = SecretStr(key.secret)
    return ChatOpenAI(
        model="auto", base_url=stack.base_url, api_key=secret, max_retries=0, use_responses_api=True, **fields
    )


async def test_langchain_asks_streams_calls_and_hears_of_errors(
    scripted: Stack, scripted_key: Key, upstream: ScriptedUpstream
) -> None:
    """With `use_responses_api`, which it sets itself for newer models."""
    from langchain_core.messages import HumanMessage

    model = langchain(scripted, scripted_key)
    upstream.fallback = sse(openai_replies.text("Good", " day"))
    answer = await model.ainvoke("Hello")
    assert answer.text == "Good day"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 2
    assert "".join([chunk.text async for chunk in model.astream("Hello")]) == "Good day"
    upstream.fallback = CALL
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    with_tools = model.bind_tools([tool])
    called = await with_tools.ainvoke("Weather?")
    assert called.tool_calls[0]["args"] == {"city": "Rome"}
    upstream.fallback = sse(openai_replies.text("Sunny."))
    result = {"role": "tool", "tool_call_id": "call_1", "content": "sun"}
    assert (await with_tools.ainvoke([HumanMessage("Weather?"), called, result])).text == "Sunny."
    assert [message["role"] for message in upstream.requests[-1].body["messages"]] == ["user", "assistant", "tool"]
    with pytest.raises(openai.BadRequestError, match="temperature"):
        await langchain(scripted, scripted_key, temperature=9).ainvoke("Hello")


async def test_openais_agents_run_their_tools(scripted_client: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """A call, its result, an answer; streamed too; and an error ends the run."""
    from agents import Agent, RunConfig, Runner, function_tool
    from agents.models.openai_responses import OpenAIResponsesModel

    @function_tool
    def weather(city: str) -> str:
        """Tell the weather."""
        return f"sun over {city}"

    agent = Agent(name="a", instructions="Help.", tools=[weather], model=OpenAIResponsesModel("auto", scripted_client))
    config = RunConfig(tracing_disabled=True)
    upstream.add(CALL, sse(openai_replies.text("Sunny.")))
    assert (await Runner.run(agent, "Weather?", run_config=config)).final_output == "Sunny."
    sent = upstream.requests[-1].body["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool"]
    assert sent[-1]["content"] == "sun over Rome"
    upstream.add(CALL, sse(openai_replies.text("Sun", "ny.")))
    streamed = Runner.run_streamed(agent, "Weather?", run_config=config)
    said = [event async for event in streamed.stream_events() if event.type == "raw_response_event"]
    assert streamed.final_output == "Sunny."
    assert [event.data.delta for event in said if event.data.type == "response.output_text.delta"] == ["Sun", "ny."]
    lost = Agent(name="b", model=OpenAIResponsesModel("nobody-has-it", scripted_client))
    with pytest.raises(openai.NotFoundError):
        await Runner.run(lost, "Hello", run_config=config)


FIRST = sse(openai_replies.chunk({"role": "assistant", "content": "first"}), Act.HANG)


@pytest.mark.parametrize("stream", [False, True])
async def test_langchain_that_is_cancelled_stops_the_model(
    scripted: Stack, scripted_key: Key, upstream: ScriptedUpstream, *, stream: bool
) -> None:
    """After the first piece of a stream, and where nothing has come yet of an answer that is not streamed."""
    model, aborted = langchain(scripted, scripted_key), upstream.aborted
    upstream.add(FIRST)
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
    scripted_client: AsyncOpenAI, upstream: ScriptedUpstream, *, stream: bool
) -> None:
    """By its own `cancel`, and with the task that runs it."""
    from agents import Agent, RunConfig, Runner
    from agents.models.openai_responses import OpenAIResponsesModel

    agent, aborted = Agent(name="a", model=OpenAIResponsesModel("auto", scripted_client)), upstream.aborted
    config = RunConfig(tracing_disabled=True)
    upstream.add(FIRST)
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
