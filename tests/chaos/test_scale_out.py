"""Three api and four worker processes, of two backends, against one Redis and one PostgreSQL: as one would."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from shared.postgres.database import Database
from shared.postgres.keys import KeyStore
from shared.redis import client as redis_client
from tests.fleet import Fleet, Process, chat, ready
from tests.streams import content, events, usage_rows
from tests.upstreams.numbered import MODEL, NumberedUpstream, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from cli.up.embedded.valkey import EmbeddedValkey
    from tests.conftest import Eventually

OTHER_MODEL = "another"
SLOTS = 8
APIS, WORKERS_PER_BACKEND = 3, 2
WHOLE = words(40)


class Answer(NamedTuple):
    """What a client got: its status is None where the connection broke before the head."""

    request_id: str | None
    model: str
    status: int | None
    said: str
    whole: bool
    error: str | None


class Farm:
    """The processes and the servers around them."""

    def __init__(self, fleet: Fleet, redis: Redis, upstreams: dict[str, NumberedUpstream]) -> None:
        self.fleet = fleet
        self.redis = redis
        self.upstreams = upstreams
        self.apis: list[Process] = []
        self.workers: dict[str, dict[bytes, Process]] = {}
        self.client = httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=500))

    async def key(self, rpm_limit: int) -> tuple[str, str]:
        """Return the id and the secret of a new gateway key."""
        async with Database(self.fleet._database_url) as database:
            created, secret = await KeyStore(database).create("scale", rpm_limit=rpm_limit)
        return created.id, secret

    async def ask(self, api: Process, secret: str, model: str, *, stream: bool) -> Answer:
        """Return one request to one api process, and what came of it; never raises for a broken connection."""
        headers = {"authorization": f"Bearer {secret}"}
        body = chat(model=model, stream=stream)
        url = f"{api.url}/v1/chat/completions"
        request_id, status, text = None, None, ""
        try:
            async with self.client.stream("POST", url, json=body, headers=headers) as reply:
                request_id, status = reply.headers["x-request-id"].removeprefix("req_"), reply.status_code
                async for piece in reply.aiter_text():
                    text += piece
        except httpx.TransportError:
            return Answer(request_id, model, status, "", whole=False, error="connection")
        return _answer(request_id, model, status, text, stream=stream and status == 200)

    async def held_by(self) -> Counter[bytes]:
        """Return how many jobs each worker holds, by its id in hex digits."""
        names = [name async for name in self.redis.scan_iter("arq:in-progress:*", count=1000)]
        return Counter(await self.redis.mget(names))


def _answer(request_id: str, model: str, status: int, text: str, *, stream: bool) -> Answer:
    if not stream:
        body = httpx.Response(status, text=text).json()
        if status == 200:
            return Answer(request_id, model, status, body["choices"][0]["message"]["content"], whole=True, error=None)
        return Answer(request_id, model, status, "", whole=False, error=body["error"]["code"])
    found = events(text)
    errors = [one["error"]["code"] for one in found if one and "error" in one]
    assert len(errors) + found.count(None) == 1  # one end, of one kind
    assert found[-1] is None or "error" in found[-1]
    return Answer(request_id, model, status, content(found), whole=not errors, error=errors[0] if errors else None)


@pytest.fixture
async def farm(
    fleet: Fleet, valkey: EmbeddedValkey, upstream: NumberedUpstream, eventually: Eventually
) -> AsyncIterator[Farm]:
    """Yield everything started: each api process has seen every worker."""
    async with NumberedUpstream(tokens=40) as other, _connected(valkey.url()) as redis:
        other.models = [OTHER_MODEL]
        farm = Farm(fleet, redis, {MODEL: upstream, OTHER_MODEL: other})
        farm.apis = [await fleet.api() for _ in range(APIS)]
        for model, server in farm.upstreams.items():
            backend = {"CLAW_LOCAL_OPENAI_URL": server.url, "CLAW_LOCAL_OPENAI_SLOTS": str(SLOTS)}
            farm.workers[model] = {}
            for _ in range(WORKERS_PER_BACKEND):
                known: set[bytes] = await redis.smembers("claw:workers")  # type: ignore[misc]  # redis-py: or awaitable
                process = await fleet.worker(**backend)
                (identity,) = await eventually(partial(_newcomers, redis, known))
                farm.workers[model][identity] = process
        for tier in ("gemini", "paid"):
            fleet.start(tier, ["workers", tier], 0, {})
        await fleet.recorder()
        async with farm.client:
            await asyncio.gather(*(ready(api, eventually) for api in farm.apis))
            _, secret = await farm.key(1_000)
            await eventually(lambda: _complete(farm, secret))
            yield farm


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Redis]:
    redis = redis_client.connect(url)
    try:
        yield redis
    finally:
        await redis_client.close(redis)


async def _newcomers(redis: Redis, known: set[bytes]) -> set[bytes]:
    members: set[bytes] = await redis.smembers("claw:workers")  # type: ignore[misc]  # redis-py: or awaitable
    return members - known


async def _complete(farm: Farm, secret: str) -> bool:
    """Return whether both models are on offer everywhere, and all workers of all tiers are there."""
    for api in farm.apis:
        reply = await farm.client.get(f"{api.url}/v1/models", headers={"authorization": f"Bearer {secret}"})
        if not {MODEL, OTHER_MODEL} <= {one["id"] for one in reply.json()["data"]}:
            return False
    announced = [name async for name in farm.redis.scan_iter("claw:worker:*")]
    return len(announced) == 2 * WORKERS_PER_BACKEND + 2


async def _rows_by_id(farm: Farm, eventually: Eventually, count: int) -> dict[str, dict[str, Any]]:
    return {row["request_id"].hex: row for row in await usage_rows(farm.fleet, eventually, count)}


async def test_limits_are_exact_and_each_request_is_logged_once(farm: Farm, eventually: Eventually) -> None:
    """Four keys at once through all api processes: each has exactly its limit served, and every answer its own row."""
    limits = {}
    for rpm_limit in (5, 20, 50, 10_000):
        key_id, secret = await farm.key(rpm_limit)
        limits[key_id] = (secret, rpm_limit)
    answers: dict[str, list[Answer]] = {}

    async def load(key_id: str, secret: str, rpm_limit: int) -> None:
        answers[key_id] = await asyncio.gather(
            *(
                farm.ask(farm.apis[number % APIS], secret, (MODEL, OTHER_MODEL)[number // 3 % 2], stream=number % 4 > 0)
                for number in range(min(rpm_limit, 100) + 20)
            )
        )

    await asyncio.gather(*(load(key_id, *limit) for key_id, limit in limits.items()))
    for key_id, (_, rpm_limit) in limits.items():
        served = [answer for answer in answers[key_id] if answer.status == 200]
        refused = [answer for answer in answers[key_id] if answer.status != 200]
        assert len(served) == min(rpm_limit, len(answers[key_id]))
        assert all(answer.whole and answer.said == WHOLE for answer in served)
        assert {(answer.status, answer.error) for answer in refused} <= {(429, "rate_limit_exceeded")}
    everything = [(key_id, answer) for key_id, given in answers.items() for answer in given]
    rows = await _rows_by_id(farm, eventually, len(everything))
    for key_id, answer in everything:
        row = rows[answer.request_id or ""]
        assert (str(row["key_id"]), row["asked_model"], row["status"]) == (key_id, answer.model, answer.status)
        assert row["model"] == (answer.model if answer.status == 200 else "")
    assert {len(upstream.requests) for upstream in farm.upstreams.values()} != {0}
    await eventually(lambda: _nothing_is_left(farm))


@pytest.mark.switched
async def test_an_api_and_a_worker_killed_under_load_leave_no_one_waiting(farm: Farm, eventually: Eventually) -> None:
    """Work was spread evenly; each client gets a whole answer or one error; all is logged once and cleared up."""
    upstream, other = farm.upstreams.values()
    _, secret = await farm.key(10_000)
    asked: list[tuple[Process, asyncio.Task[Answer]]] = []

    def ask(model: str, number: int) -> None:
        api = farm.apis[number % APIS]
        asked.append((api, asyncio.create_task(farm.ask(api, secret, model, stream=number % 4 > 0))))

    # Three quarters of all slots with an answer that has begun, the rest with one that has not; more requests wait.
    begun, silent = SLOTS * WORKERS_PER_BACKEND * 3 // 4, SLOTS * WORKERS_PER_BACKEND // 4
    upstream.hold_at = other.hold_at = 7
    for number in range(begun):
        ask(MODEL, number)
        ask(OTHER_MODEL, number + 1)
    await eventually(lambda: (upstream.held, other.held) == (begun, begun))
    # Of two workers that hold twelve answers in eight slots each, the one with fewer will hold silent ones as well.
    before = await farm.held_by()
    victim = min(farm.workers[MODEL], key=lambda identity: before[identity])
    upstream.hold_at = other.hold_at = 0
    for number in range(silent):
        ask(MODEL, number)
        ask(OTHER_MODEL, number + 1)
    await eventually(lambda: upstream.held == other.held == begun + silent)
    assert await farm.held_by() == {identity: SLOTS for backend in farm.workers.values() for identity in backend}
    for number in range(30):
        ask((MODEL, OTHER_MODEL)[number // 3 % 2], number)
    await eventually(lambda: _waiting(farm, 30))

    farm.apis[0].kill()
    farm.workers[MODEL][victim].kill()
    upstream.resume.set()
    other.resume.set()
    answers = await asyncio.gather(*(task for _, task in asked))
    for (api, _), answer in zip(asked, answers, strict=True):
        if answer.whole:
            assert answer.said == WHOLE
        elif api is farm.apis[0]:
            assert answer.error == "connection"
        else:
            assert (answer.error, answer.model) == ("worker_lost", MODEL)
            assert WHOLE.startswith(answer.said)
    assert sum(answer.whole for answer in answers) >= len(asked) // 2
    assert sum(answer.error == "worker_lost" for answer in answers) <= SLOTS

    rows = await _rows_by_id(farm, eventually, len(asked))
    for (api, _), answer in zip(asked, answers, strict=True):
        if api is not farm.apis[0]:
            row = rows.pop(answer.request_id or "")
            status = 200 if answer.whole else 502
            assert (row["asked_model"], row["model"], row["status"]) == (answer.model, answer.model, status)
    # Left are those of the dead api process: orphaned, or served before anyone could know.
    assert {(row["status"], row["error_code"]) for row in rows.values()} <= {(499, "orphaned"), (200, None)}
    assert len(upstream.requests) + len(other.requests) <= len(asked) + SLOTS  # no more than the worker held, again
    await eventually(lambda: _nothing_is_left(farm, apis=APIS - 1, workers=5))


async def _waiting(farm: Farm, count: int) -> bool:
    queues = [name async for name in farm.redis.scan_iter("arq:queue:*", _type="zset")]
    return bool(sum([await farm.redis.zcard(name) for name in queues]) == count)


async def _nothing_is_left(farm: Farm, apis: int = APIS, workers: int = 2 * WORKERS_PER_BACKEND + 2) -> bool:
    """Return whether no job, mark, open request, usage or sign of a dead process is in Redis any more."""
    names = [name.decode() async for name in farm.redis.scan_iter("*", count=1000)]
    left = [name for name in names if name.startswith(("arq:job:", "arq:in-progress:", "claw:open:"))]
    queues = [name async for name in farm.redis.scan_iter("arq:queue:*", _type="zset")]
    counts = (
        sum(name.startswith("claw:api:") for name in names),
        await farm.redis.scard("claw:apis"),  # type: ignore[misc]  # redis-py: or awaitable
        sum(name.startswith("claw:worker:") for name in names),
        await farm.redis.scard("claw:workers"),  # type: ignore[misc]  # redis-py: or awaitable
        await farm.redis.xlen("claw:usage"),
    )
    return not left and not queues and counts == (apis, apis, workers, workers, 0)
