"""Completions of the embedded model through the official client."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from openai import BadRequestError

from tests.e2e.page import MODELS

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam, ChatCompletionToolParam

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.model]

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]},
    },
}
STREAMS = 50


@pytest.mark.parametrize("model", ["auto", "local", "smollm2-135m"])
def test_each_name_of_the_local_model_answers_with_the_model_that_served(client: OpenAI, model: str) -> None:
    """`auto`, `local` and the model's own name lead to it."""
    completion = client.chat.completions.create(model=model, messages=HELLO, max_tokens=8)
    assert completion.choices[0].message.content
    assert completion.model == "smollm2-135m"
    assert completion.id.startswith("chatcmpl-")


def test_usage_of_a_completion_is_counted_by_the_model_server(client: OpenAI) -> None:
    """A limit that is reached is the number of tokens; the total adds up."""
    usage = client.chat.completions.create(model="local", messages=HELLO, max_tokens=5).usage
    assert usage is not None
    assert usage.completion_tokens == 5
    assert usage.prompt_tokens > 5
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit_ends_with_length(client: OpenAI, limit: str) -> None:
    """Under the old name and the new one."""
    completion = client.chat.completions.create(model="local", messages=HELLO, extra_body={limit: 4})
    assert completion.choices[0].finish_reason == "length"


def test_a_stop_word_ends_the_answer_before_it(client: OpenAI) -> None:
    """The same answer again, up to the word that stops it."""
    whole = client.chat.completions.create(model="local", messages=HELLO, max_tokens=24, temperature=0)
    said = whole.choices[0].message.content or ""
    word = said.split()[2]
    cut = client.chat.completions.create(model="local", messages=HELLO, max_tokens=24, temperature=0, stop=[word])
    assert cut.choices[0].finish_reason == "stop"
    assert cut.choices[0].message.content == said[: said.index(word)]


def test_a_stream_says_what_the_whole_answer_says(client: OpenAI) -> None:
    """Streaming or not, the same text, finish reason and usage."""
    whole = client.chat.completions.create(model="local", messages=HELLO, max_tokens=24, temperature=0)
    chunks = list(
        client.chat.completions.create(
            model="local",
            messages=HELLO,
            max_tokens=24,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert _text(chunks) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_a_stream_has_usage_only_when_it_is_asked_for(client: OpenAI) -> None:
    """Without stream_options no chunk has a usage."""
    chunks = list(client.chat.completions.create(model="local", messages=HELLO, max_tokens=4, stream=True))
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "length"


def test_json_mode_gives_json(client: OpenAI) -> None:
    """The grammar of response_format json_object reaches the model; one so small may not know when to stop."""
    completion = client.chat.completions.create(
        model="local", messages=HELLO, response_format={"type": "json_object"}, max_tokens=12, temperature=0
    )
    assert (completion.choices[0].message.content or "").lstrip().startswith("{")


def test_a_json_schema_is_kept(client: OpenAI) -> None:
    """response_format json_schema, with few answers that it allows."""
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "green"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    completion = client.chat.completions.create(
        model="local",
        messages=[{"role": "user", "content": "Name a colour."}],
        response_format={"type": "json_schema", "json_schema": {"name": "colour", "schema": schema, "strict": True}},
        max_tokens=60,
        temperature=0,
    )
    assert completion.choices[0].finish_reason == "stop"
    assert json.loads(completion.choices[0].message.content or "")["colour"] in {"red", "green"}


def test_tools_are_refused_by_name_where_the_model_would_not_see_them(client: OpenAI) -> None:
    """The small model's template has no place for them, and llama.cpp would drop them without a word."""
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model="local", messages=HELLO, tools=[WEATHER], max_tokens=16)
    assert caught.value.param == "tools"
    hidden = client.chat.completions.create(
        model="local", messages=HELLO, tools=[WEATHER], tool_choice="none", max_tokens=5
    )
    assert hidden.choices[0].finish_reason == "length"


def test_several_choices_are_all_counted(client: OpenAI) -> None:
    """n=2 gives two choices, and the tokens of both are in the usage."""
    completion = client.chat.completions.create(model="local", messages=HELLO, n=2, max_tokens=5)
    assert [choice.index for choice in completion.choices] == [0, 1]
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 10


def test_models_can_be_listed_and_each_one_retrieved(client: OpenAI) -> None:
    """What is listed can be retrieved by its id, and is the same."""
    listed = list(client.models.list())
    assert [model.id for model in listed] == ["auto", "local", "smollm2-135m", "multilingual-e5-small-q4"]
    assert {model.id for model in listed}.isdisjoint(set(MODELS) - {"auto", "local"}), "no credential is configured"
    assert [client.models.retrieve(model.id) for model in listed] == listed


async def test_fifty_streams_at_once_complete_in_order(async_client: AsyncOpenAI) -> None:
    """More than the model can answer at once: all end as they should, and say what one alone says."""

    async def answer() -> list[ChatCompletionChunk]:
        stream = await async_client.chat.completions.create(
            model="auto", messages=HELLO, max_tokens=6, temperature=0, stream=True
        )
        return [chunk async for chunk in stream]

    alone = _text(await answer())
    answers = await asyncio.gather(*(answer() for _ in range(STREAMS)))
    assert all(chunks[-1].choices[0].finish_reason for chunks in answers)
    # llama.cpp's arithmetic depends on what else is in its batch, so a few may take another word.
    assert sum(_text(chunks) == alone for chunks in answers) > STREAMS / 2
    assert len({chunks[0].id for chunks in answers}) == STREAMS


async def test_sync_and_async_clients_get_the_same(client: OpenAI, async_client: AsyncOpenAI) -> None:
    """One question, two clients."""
    now = await async_client.chat.completions.create(model="local", messages=HELLO, max_tokens=6, temperature=0)
    then = client.chat.completions.create(model="local", messages=HELLO, max_tokens=6, temperature=0)
    assert now.choices == then.choices


def _text(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
