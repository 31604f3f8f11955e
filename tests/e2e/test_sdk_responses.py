"""Responses of the embedded model through the official client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from openai import BadRequestError

from tests.e2e.test_scripted_responses import WEATHER

if TYPE_CHECKING:
    from openai import AsyncOpenAI

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.model]


async def test_the_embedded_model_answers_whole_and_in_pieces_and_is_continued(async_client: AsyncOpenAI) -> None:
    """As a newcomer asks it; counted by the model server, and stored by default."""
    first = await async_client.responses.create(model="auto", input="Say hello.", max_output_tokens=16)
    assert (first.model, first.object) == ("smollm2-135m", "response")
    assert first.output_text
    assert first.usage is not None
    assert 0 < first.usage.output_tokens <= 16
    streamed = await async_client.responses.create(
        model="auto", input="And again.", previous_response_id=first.id, max_output_tokens=16, stream=True
    )
    events = [event async for event in streamed]
    said = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert events[-1].type in {"response.completed", "response.incomplete"}
    assert events[0].type == "response.created"
    second = await async_client.responses.retrieve(events[0].response.id)
    assert second.output_text == "".join(said)
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens
    assert (await async_client.responses.retrieve(first.id)).output_text == first.output_text


async def test_what_it_cannot_is_refused_by_name(async_client: AsyncOpenAI) -> None:
    """It takes no tools, as its chat template says."""
    with pytest.raises(BadRequestError) as caught:
        await async_client.responses.create(model="local", input="Weather?", tools=[WEATHER])
    assert caught.value.param == "tools"


async def test_one_that_is_left_is_stopped(async_client: AsyncOpenAI) -> None:
    """Its slot is free for the next."""
    async with await async_client.responses.create(model="auto", input="Count.", stream=True) as stream:
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
    next_one = await async_client.responses.create(model="auto", input="Hello.", max_output_tokens=4)
    assert next_one.output_text
