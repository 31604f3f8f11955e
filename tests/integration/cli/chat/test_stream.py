"""What `nself claw chat` reads of a gateway's answer."""

from __future__ import annotations

from cli.chat.events import Served
from cli.chat.stream import Connection, Question, answer_stream
from tests.upstreams.openai.replies import text
from tests.upstreams.scripted import Answer, ScriptedUpstream


async def test_a_model_that_a_header_names_in_another_alphabet_is_shown_as_it_is_called() -> None:
    """The gateway encodes such names, as headers are ASCII."""
    headers = {
        "content-type": "text/event-stream",
        "x-nself-tier": "local",
        "x-nself-model": "%E6%A8%A1%E5%9E%8B",
    }
    async with ScriptedUpstream() as gateway:
        gateway.fallback = Answer([text("Hello")], headers=headers)
        async with answer_stream(Connection(gateway.url, {}), Question("Who are you?", "scripted")) as events:
            assert await anext(events) == Served("local", "模型")
