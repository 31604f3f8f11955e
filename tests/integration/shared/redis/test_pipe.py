"""The connection that short commands share: every fault ends it for all, and each caller gets its own answer."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.redis import client as redis_client
from shared.redis import scripts
from shared.redis.pipe import LONGEST_BYTES, SHORT, PipedRedis
from shared.redis.pipelined_connection import MOST_UNANSWERED_BYTES, ConnectionFull, PipelinedConnection
from shared.redis.subscription import next_message, subscription
from shared.redis.transfer import transfer
from tests.fleet import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

ECHO = "return ARGV[1]"
HASTY_S = 0.5


async def echo(redis: Redis, text: str) -> str:
    """Return what the server says to this."""
    answer: bytes = await redis.execute_command("EVAL", ECHO, 0, text)  # type: ignore[no-untyped-call]  # redis-py has no types here
    return answer.decode()


async def connections(redis: Redis, other: Redis) -> set[str]:
    """Return those that this client's scripts have gone through, as the server numbers them."""
    await echo(redis, "here")
    return {entry["id"] for entry in await other.client_list() if entry["cmd"] == "eval"}


@pytest.fixture
async def other(valkey_url: str, redis: Redis) -> AsyncIterator[Redis]:  # noqa: ARG001 -- an emptied Valkey
    """Yield a client that takes no part."""
    client = redis_client.connect(valkey_url, is_piped=False)
    yield client
    await redis_client.close(client)


def waiting_at_most(valkey_url: str, seconds: float) -> Redis:
    """Return a client that waits so long for an answer."""
    return redis_client.connect(f"{valkey_url}{'&' if '?' in valkey_url else '?'}socket_timeout={seconds}")


@pytest.fixture
async def hasty(valkey_url: str, redis: Redis) -> AsyncIterator[Redis]:  # noqa: ARG001 -- an emptied Valkey
    """Yield a client that waits no longer than HASTY_S for an answer."""
    client = waiting_at_most(valkey_url, HASTY_S)
    yield client
    await redis_client.close(client)


@pytest.fixture
async def patient(valkey_url: str, redis: Redis) -> AsyncIterator[Redis]:  # noqa: ARG001 -- an emptied Valkey
    """Yield a client that waits as long as a test does."""
    client = waiting_at_most(valkey_url, PATIENCE_S)
    yield client
    await redis_client.close(client)


async def cut(other: Redis) -> None:
    """Close every connection but this one's."""
    await other.client_kill_filter(_type="normal", skipme=True)


async def test_each_caller_gets_its_own_answer_whoever_is_cancelled(redis: Redis) -> None:
    """An answer that nobody wants any more is not given to the next in line."""
    asked = [asyncio.create_task(echo(redis, str(number))) for number in range(300)]
    await asyncio.sleep(0)
    for task in asked[::3]:
        task.cancel()
    await asyncio.wait(asked)
    kept = {number: task.result() for number, task in enumerate(asked) if not task.cancelled()}
    assert len(kept) >= 200
    assert kept == {number: str(number) for number in kept}


async def test_commands_of_a_process_share_a_connection(redis: Redis, other: Redis) -> None:
    """Also those that run at once."""
    await asyncio.gather(*(echo(redis, str(number)) for number in range(20)))
    assert len(await connections(redis, other)) == 1


@pytest.mark.parametrize("is_transaction", [True, False])
async def test_a_script_that_the_server_forgot_is_sent_again(redis: Redis, *, is_transaction: bool) -> None:
    """It runs once, and what stands beside it is done once, too."""
    for turn in range(1, 4):
        if turn == 3:
            await redis.script_flush()
        pipeline = redis.pipeline(transaction=is_transaction)
        pipeline.hincrby("claw:budget:all:x", "spent", 1)
        scripts.add(pipeline, "return redis.call('HINCRBY', KEYS[1], 'held', ARGV[1])", ["claw:budget:all:x"], 1)
        pipeline.hexists("claw:budget:all:x", "held")
        assert await pipeline.execute() == [turn, turn, True]
    await redis.delete("claw:budget:all:x")


async def test_scripts_of_a_transaction_run_in_their_order(redis: Redis, other: Redis) -> None:
    """Also where the server has forgotten the first of them alone: it ran after the second."""
    first, second = (f"return redis.call('RPUSH', KEYS[1], '{each}')" for each in ("first", "second"))
    for turn in range(3):
        if turn == 2:
            await redis.script_flush()
            await other.script_load(second)
            await redis.delete("claw:janitor")
        pipeline = redis.pipeline(transaction=True)
        for script in (first, second):
            scripts.add(pipeline, script, ["claw:janitor"])
        await pipeline.execute()
    assert await other.lrange("claw:janitor", 0, -1) == [b"first", b"second"]  # type: ignore[misc]  # redis-py: or awaitable
    await redis.delete("claw:janitor")


@pytest.mark.parametrize("is_transaction", [True, False])
async def test_a_command_that_is_refused_fails_its_pipeline_and_nobody_else(
    redis: Redis, *, is_transaction: bool
) -> None:
    """As redis-py raises it; others that wait at the same time have their answers."""
    pipeline = redis.pipeline(transaction=is_transaction)
    pipeline.set("claw:janitor", "text")
    pipeline.sadd("claw:janitor", "member")
    beside = asyncio.create_task(echo(redis, "beside"))
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await pipeline.execute()
    assert await beside == "beside"
    await redis.delete("claw:janitor")


async def test_a_transaction_that_cannot_be_queued_does_nothing(redis: Redis) -> None:
    """Its first error is raised, and the connection is as good as before."""
    pipeline = redis.pipeline(transaction=True)
    pipeline.set("claw:janitor", "1")
    pipeline.execute_command("SET", "claw:janitor")
    with pytest.raises(ResponseError, match="wrong number of arguments"):
        await pipeline.execute()
    assert not await redis.exists("claw:janitor")


async def test_a_cut_connection_fails_who_waits_and_is_made_anew(redis: Redis, other: Redis) -> None:
    """Nobody hangs, and the next command does not notice."""
    before = await connections(redis, other)
    await other.client_pause(60_000, all=False)
    waiting = [asyncio.create_task(echo(redis, "lost")) for _ in range(5)]
    await asyncio.sleep(0)
    await cut(other)
    await other.client_unpause()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, RedisConnectionError | str) for result in results)
    assert not await connections(redis, other) & before


async def test_a_silent_server_fails_who_waits_and_its_late_answers_are_nobodys(redis: Redis, other: Redis) -> None:
    """The answers of the old connection are not taken for those of the new one."""
    before = await connections(redis, other)
    await other.client_pause(60_000, all=False)
    with pytest.raises((RedisTimeoutError, RedisConnectionError)):
        await echo(redis, "late")
    await other.client_unpause()
    assert [await echo(redis, str(number)) for number in range(5)] == list("01234")
    assert not await connections(redis, other) & before


async def test_bytes_on_the_way_are_bounded(redis: Redis, other: Redis) -> None:
    """What a silent server does not take is not heaped up in one connection; all is done once it answers again."""
    text = "x" * (LONGEST_BYTES - 100)
    count = MOST_UNANSWERED_BYTES // len(text) + 10
    await echo(redis, "connected")
    await other.client_pause(60_000, all=False)
    asked = [asyncio.create_task(echo(redis, text)) for _ in range(count)]
    await asyncio.sleep(0)
    await other.client_unpause()
    assert await asyncio.gather(*asked) == [text] * count
    assert len(await connections(redis, other)) > 1, "what did not fit went to the pool"


async def test_what_blocks_or_is_long_has_a_connection_of_its_own(redis: Redis) -> None:
    """A list that stays empty holds up nobody."""
    assert not SHORT & {"BLPOP", "BRPOP", "BLMOVE", "BZPOPMIN", "BZPOPMAX", "XREAD", "XREADGROUP", "WAIT", "SUBSCRIBE"}
    blocked: asyncio.Task[object] = asyncio.create_task(redis.blpop(["claw:reply:none"], timeout=30))  # type: ignore[arg-type]  # redis-py: or awaitable
    try:
        assert await asyncio.gather(*(echo(redis, str(number)) for number in range(20))) == list(map(str, range(20)))
        assert await echo(redis, "x" * 2 * LONGEST_BYTES) == "x" * 2 * LONGEST_BYTES
        assert not blocked.done()
    finally:
        blocked.cancel()


async def test_a_process_that_was_stopped_reads_before_it_judges(hasty: Redis, other: Redis) -> None:
    """Its own clock went on meanwhile; the answer was there."""
    before = await connections(hasty, other)
    asked = asyncio.create_task(echo(hasty, "there"))
    await asyncio.sleep(0)
    time.sleep(1.2 * HASTY_S)  # noqa: ASYNC251 -- the loop is to stand
    assert await asked == "there"
    assert await connections(hasty, other) == before


async def test_the_url_says_how_long_the_server_may_be_silent(patient: Redis, hasty: Redis, other: Redis) -> None:
    """Of commands that share a connection, too; who gave it less time does not get the late answer."""
    assert await echo(hasty, "here") == await echo(patient, "here") == "here"
    await other.client_pause(60_000, all=False)
    late = asyncio.create_task(echo(patient, "late"))
    with pytest.raises(RedisTimeoutError):
        await echo(hasty, "late")
    await other.client_unpause()
    assert await late == "late"
    assert await echo(hasty, "again") == "again"


async def test_what_brings_bodies_has_the_time_that_they_take(hasty: Redis) -> None:
    """Longer than any other command; the connection is lent to others afterwards, with the time that they have."""
    wait = ("BLPOP", "claw:reply:none")
    assert await transfer(hasty, *wait, 2 * HASTY_S) is None
    with pytest.raises(RedisTimeoutError):
        await hasty.execute_command(*wait, 60)  # type: ignore[no-untyped-call]  # redis-py has no types here


async def test_messages_that_came_with_the_confirmation_are_read(redis: Redis) -> None:
    """Published by another connection, whenever: from the confirmation on none is lost, and all are in order."""
    for _ in range(20):
        done = asyncio.Event()

        async def publish(done: asyncio.Event = done) -> None:
            while not done.is_set():
                await redis.publish("claw:news", b"early")

        publishing = asyncio.create_task(publish())
        async with subscription(redis, "claw:news") as subscribed:
            reached = [await redis.publish("claw:news", str(number)) for number in range(10)]
            done.set()
            await publishing
            heard: list[bytes] = []
            while b"9" not in heard:
                heard.append((await next_message(subscribed, PATIENCE_S))[1])
        assert reached == [1] * 10
        assert [text for text in heard if text != b"early"] == [b"%d" % number for number in range(10)]


def test_the_default_is_the_pipe(valkey_url: str) -> None:
    """And it can be switched off."""
    assert isinstance(redis_client.connect(valkey_url), PipedRedis)
    assert not isinstance(redis_client.connect(valkey_url, is_piped=False), PipedRedis)


async def test_a_line_that_was_lost_takes_no_command(redis: Redis) -> None:
    """It breaks, too, between a caller's being told of it and the caller's sending: nobody waits for an answer then."""
    assert isinstance(redis, PipedRedis)
    line = await redis._pipe.line()
    line.end("cut")
    with pytest.raises(RedisConnectionError):
        line.send(b"*1\r\n$4\r\nPING\r\n", 1)
    assert await echo(redis, "anew") == "anew"


async def test_a_forgotten_script_that_finds_no_room_has_another_connection(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No caller hears of the room in the line."""
    send = PipelinedConnection.send

    def full(self: PipelinedConnection, packed: bytes, count: int) -> asyncio.Future[list[object]]:
        if count == 1:
            raise ConnectionFull
        return send(self, packed, count)

    for _ in range(2):
        pipeline = redis.pipeline(transaction=False)
        pipeline.exists("claw:none")
        scripts.add(pipeline, ECHO, [], "said")
        assert await pipeline.execute() == [0, b"said"]
        await redis.script_flush()
        monkeypatch.setattr(PipelinedConnection, "send", full)


async def test_a_transaction_whose_script_finds_no_master_ends_the_reign(redis: Redis, other: Redis) -> None:
    """A script is refused once it runs: that stands among the answers of the transaction, not in their place."""
    await echo(redis, "connected")
    reign = redis_client.state_of(redis).reign
    await other.replicaof("127.0.0.1", 1)
    try:
        pipeline = redis.pipeline(transaction=True)
        pipeline.publish("claw:news", b"said")
        scripts.add(pipeline, "return redis.call('SET', KEYS[1], 'text')", ["claw:janitor"])
        with pytest.raises(RedisError):
            await pipeline.execute()
        assert redis_client.state_of(redis).reign == reign + 1
    finally:
        await other.replicaof("NO", "ONE")
    assert await echo(redis, "anew") == "anew"
