"""Nobody records the usage log: that is said, and the log in Redis has a bound, at which nothing is lost in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from shared.redis import client as redis_client
from shared.redis.names import USAGE_STREAM
from tests.fleet import PATIENCE_S, chat, ready

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.fleet import Fleet

MOST = 5


async def test_a_usage_log_without_a_recorder_is_bounded_and_loses_nothing(
    fleet: Fleet, fleet_redis_url: str, eventually: Eventually
) -> None:
    """At the bound requests are refused, /ready and one line of the log say why, and every one is in the log later."""
    api = await fleet.api(CLAW_MAX_USAGE_RECORDS=str(MOST))
    await fleet.worker()
    await ready(api, eventually)
    redis = redis_client.connect(fleet_redis_url)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    answers: list[tuple[int, str]] = []
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:

        async def code() -> str:
            reply = await client.post("/v1/chat/completions", json=chat())
            answers.append((reply.status_code, reply.json().get("error", {}).get("code", "")))
            return answers[-1][1]

        async def is_full() -> bool:
            return await code() == "usage_log_full"

        await eventually(is_full)
        waiting = await redis.xlen(USAGE_STREAM)
        for _ in range(20):
            assert await code() == "usage_log_full"
        assert MOST <= await redis.xlen(USAGE_STREAM) == waiting
        reply = await client.get("/ready")
        assert (reply.status_code, "CLAW_MAX_USAGE_RECORDS" in reply.json()["why"]["usage"]) == (503, True)
        assert sum("records of usage wait" in line for line in api.log.read_text().splitlines()) == 1
        await fleet.recorder()

        async def is_served() -> bool:
            return not await code()

        await eventually(is_served)
        assert (await client.get("/ready")).json()["status"] == "ready"

    async def logged() -> bool:
        counts: dict[tuple[int, str], int] = {}
        for row in await fleet.usage():
            key = (row["status"], row["error_code"] or "")
            counts[key] = counts.get(key, 0) + row["count"]
        return counts == {answer: answers.count(answer) for answer in answers}

    await eventually(logged)
    await redis_client.close(redis)


async def test_records_that_wait_for_long_are_named(fleet: Fleet, fleet_redis_url: str, eventually: Eventually) -> None:
    """/ready stays 200 and says `degraded`, until a recorder is there."""
    api = await fleet.api()
    await fleet.worker()
    await ready(api, eventually)
    redis = redis_client.connect(fleet_redis_url)
    await redis.delete(USAGE_STREAM)  # else an entry can only be newer than those before it
    await redis.xadd(USAGE_STREAM, {"r": b"{}"}, id="1-0")
    async with httpx.AsyncClient(base_url=api.url, timeout=PATIENCE_S) as client:

        async def why() -> str:
            reply = await client.get("/ready")
            assert reply.status_code == 200
            return str(reply.json().get("why", {}).get("usage", reply.json()["status"]))

        async def is_named() -> bool:
            return "Usage waits in Redis since 1970-01-01T00:00:00Z" in await why()

        async def is_ready() -> bool:
            return await why() == "ready"

        await eventually(is_named)
        await fleet.recorder()
        await eventually(is_ready)
    await redis_client.close(redis)
