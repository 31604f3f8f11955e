"""What of a model's answer becomes part of its session."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from shared.ids import new_request_id
from shared.openai.sessions.turn import parted
from shared.openai.sessions.turn_end import MOST_THOUGHTS_CHARS
from shared.types import Delta, Finish, Job, ToolCallDelta
from workers.attempts.session_answer import SessionAnswer

if TYPE_CHECKING:
    from redis.asyncio import Redis

JOB = Job(
    request_id=new_request_id(),
    attempt=1,
    api_id="ab" * 16,
    endpoint="chat",
    requested_model="m",
    stream=True,
    key_id=None,
    admitted_ms=0,
    expires_ms=0,
    tier="local",
    model="m",
    body=msgspec.Raw(b"{}"),
)


CUT_OFF = {"half": '{"a":', "deep": "[" * 5_000, "half a character": '{"a":"\\ud800"}'}


@pytest.mark.parametrize("arguments", CUT_OFF.values(), ids=CUT_OFF)
async def test_a_call_that_was_cut_off_is_none(arguments: str) -> None:
    """Also where a model has repeated itself up to its limit: how a turn ended can always be told."""
    answer = SessionAnswer(cast("Redis", None), JOB)
    calls = [ToolCallDelta(0, "whole", "look", "{}"), ToolCallDelta(1, "half", "look", arguments)]
    answer.add(Delta(content="Let me see.", tool_calls=calls))
    answer.add(Finish("length"))
    end = answer.end(None)
    assert end.state == "cut"
    assert [call["id"] for call in msgspec.json.decode(end.answer)["tool_calls"]] == ["whole"]


async def test_thoughts_go_with_an_answer_as_far_as_the_recorder_and_to_no_model() -> None:
    """Bounded, and in no message of the next request; thoughts alone are no answer."""
    answer = SessionAnswer(cast("Redis", None), JOB)
    answer.add(Delta(reasoning="Hm. " * MOST_THOUGHTS_CHARS))
    assert answer.end(None).answer == b""
    answer.add(Delta(content="42"))
    said, thoughts = parted(answer.end(None).answer)
    assert msgspec.json.decode(said) == {"role": "assistant", "content": "42"}
    assert thoughts == "Hm. " * (MOST_THOUGHTS_CHARS // 4)
