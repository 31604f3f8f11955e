"""workers/backends/unsupported.py, with a real Valkey."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shared.errors import InvalidRequest, ParameterUnsupported
from shared.openai.request import ChatRequest
from shared.redis.client import close, connect
from shared.redis.names import unsupported_key
from workers.backends.unsupported import KEPT_MS, UnsupportedParameters

if TYPE_CHECKING:
    from redis.asyncio import Redis

QUEUE = "arq:queue:paid:openai"


async def meet(worker: UnsupportedParameters, key: str, model: str = "m", **fields: Any) -> InvalidRequest:
    """Return a request of a key whose only field is refused."""
    ((param, _),) = fields.items()
    raw = {"model": model, "messages": [{"role": "user", "content": "x"}], **fields}
    request = ChatRequest(json.dumps(raw).encode())
    refusal = ParameterUnsupported("no", param=param, code="unsupported_value")
    return await worker.judged(refusal, request, model, key)


async def test_one_callers_odd_value_takes_a_parameter_away_from_nobody(redis: Redis) -> None:
    """However often it is tried; and no model but the one that refused is meant."""
    worker = UnsupportedParameters(redis, QUEUE)
    for _ in range(3):
        error = await meet(worker, "a", temperature=0.7)
        assert isinstance(error, ParameterUnsupported)
        assert error.fails_over
    await meet(worker, "b", model="other", temperature=0.7)
    assert worker.until_ms() == {}


@pytest.mark.parametrize("second", [("b", 0.7), ("a", 0.3)], ids=["two keys", "two values"])
async def test_what_two_keys_or_two_values_met_is_the_models(redis: Redis, second: tuple[str, float]) -> None:
    """Known to every worker of the backend, and to those of no other."""
    news: list[str] = []
    worker, beside = UnsupportedParameters(redis, QUEUE), UnsupportedParameters(redis, QUEUE)
    elsewhere = UnsupportedParameters(redis, "arq:queue:paid:groq")
    await meet(worker, "a", temperature=0.7)
    await meet(beside, second[0], temperature=second[1])
    for one in (worker, elsewhere):
        await meet(one, "c", model="else", temperature=0.1)
    assert beside.rejected("m") == worker.rejected("m") == ("temperature",)
    assert elsewhere.rejected("m") == worker.rejected("else") == ()
    assert news == []


async def test_of_a_word_only_the_one_that_was_refused_is_known(redis: Redis) -> None:
    """Two values that were refused are each known once two keys have met them."""
    worker = UnsupportedParameters(redis, QUEUE)
    await meet(worker, "a", reasoning_effort="minimal")
    await meet(worker, "a", reasoning_effort="none")
    assert worker.rejected("m") == ()
    await meet(worker, "b", reasoning_effort="minimal")
    assert worker.rejected("m") == ("reasoning_effort=minimal",)


async def test_what_no_document_names_is_the_callers(redis: Redis) -> None:
    """It goes nowhere else, and nothing is noted."""
    worker = UnsupportedParameters(redis, QUEUE)
    for key in "ab":
        error = await meet(worker, key, reasoning_effort="banana")
        assert (type(error), error.param) == (InvalidRequest, "reasoning_effort")
    assert await redis.exists(unsupported_key(QUEUE)) == 0


async def test_it_is_kept_for_an_hour_from_when_it_was_found_out(redis: Redis) -> None:
    """Not from when the first of them met it; then all is tried again."""
    worker = UnsupportedParameters(redis, QUEUE)
    await meet(worker, "a", temperature=0.7)
    (member,) = await redis.zrange(unsupported_key(QUEUE), 0, -1)
    nearly_over = await redis.zincrby(unsupported_key(QUEUE), -KEPT_MS + 5000, member)
    await meet(worker, "b", temperature=0.7)
    until = worker.until_ms()["m"]["temperature"]
    assert until > nearly_over + KEPT_MS / 2
    assert 0 < await redis.pttl(unsupported_key(QUEUE)) <= KEPT_MS
    for member in await redis.zrange(unsupported_key(QUEUE), 0, -1):
        await redis.zincrby(unsupported_key(QUEUE), -2 * KEPT_MS, member)
    late = UnsupportedParameters(redis, QUEUE)
    await meet(late, "c", temperature=0.7)
    assert late.rejected("m") == ()


async def test_neither_keys_nor_values_stand_in_redis(redis: Redis) -> None:
    """A prediction, say, holds what a user wrote."""
    worker = UnsupportedParameters(redis, QUEUE)
    await meet(worker, "key-of-somebody", user="somebody@example.com")
    (member,) = await redis.zrange(unsupported_key(QUEUE), 0, -1)
    assert b"somebody" not in member
    assert member.startswith(b"m\nuser\n")


async def test_without_redis_the_error_is_the_same() -> None:
    """What cannot be kept is not learned."""
    nowhere = connect("redis://127.0.0.1:1")
    try:
        error = await meet(UnsupportedParameters(nowhere, QUEUE), "a", temperature=0.7)
        assert isinstance(error, ParameterUnsupported)
    finally:
        await close(nowhere)
