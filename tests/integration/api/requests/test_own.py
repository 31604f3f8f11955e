"""Requests of the gateway's own: by the same queue, worker and relay as a client's, and seen in the same log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from api.gateway import Gateway
from api.requests.own import chat, embed
from api.requests.own_request import OwnRequest
from shared.errors import Malformed, ModelNotAllowed, Overloaded
from shared.postgres.database import Database
from shared.postgres.keys import KeyStore
from shared.settings import load_settings
from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet
from tests.upstreams.scripted import ScriptedUpstream, json_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Eventually
    from tests.fleet import Process
    from tests.upstreams.numbered import NumberedUpstream

HELLO: Final = ({"role": "user", "content": "Hello"},)
TITLE: Final = OwnRequest(purpose="title", timeout_s=PATIENCE_S)
EMBEDDER: Final = "scripted-embed"


@pytest.fixture
def gateway_environment() -> dict[str, str]:
    """Return no further variables for the api process; a test overrides this by its parameters."""
    return {}


@pytest.fixture
async def gateway(
    tmp_path: Path, fleet_redis_url: str, database_url: str, gateway_environment: dict[str, str]
) -> AsyncIterator[Gateway]:
    """Yield the parts of an api process, in this one; nothing listens."""
    environment = {"CLAW_DATA_DIR": str(tmp_path), "REDIS_URL": fleet_redis_url, "DATABASE_URL": database_url}
    parts = Gateway(load_settings({**environment, **gateway_environment}))
    await parts.start()
    try:
        yield parts
    finally:
        await parts.stop()


async def has_workers(gateway: Gateway, eventually: Eventually) -> None:
    """Wait until the process knows of a worker and of its models."""
    await eventually(lambda: gateway.relay.connected and any(each.models for each in gateway.capacity.backends()))


async def waiting(gateway: Gateway) -> int:
    """Return how many jobs wait in the queue of the only backend."""
    (backend,) = gateway.capacity.backends()
    return int(await gateway.redis.zcard(backend.queue))


async def rows_of(fleet: Fleet, eventually: Eventually, number: int, endpoint: str = "chat") -> list[dict[str, Any]]:
    """Return the rows of the usage log, once there are so many."""

    async def found() -> list[dict[str, Any]]:
        rows = await fleet.usage(endpoint)
        return rows if len(rows) >= number else []

    rows: list[dict[str, Any]] = await eventually(found)
    assert len(rows) == number
    return rows


async def test_a_chat_is_answered_and_logged_with_its_purpose(
    gateway: Gateway, fleet: Fleet, api: Process, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """With the key that caused it; the listing shows both."""
    await has_workers(gateway, eventually)
    async with Database(gateway.settings.database_url or "") as database:
        key, _ = await KeyStore(database).create("caused it", rpm_limit=1)
    own = OwnRequest(purpose="title", timeout_s=PATIENCE_S, key_id=key.id)
    answers = [await chat(gateway.requests, own, HELLO, max_tokens=20) for _ in range(2)]
    assert answers == ["".join(f" t{number}" for number in range(20))] * 2
    assert upstream.requests[-1]["messages"] == list(HELLO)
    rows = await rows_of(fleet, eventually, 2)
    for row in rows:
        assert (row["purpose"], str(row["key_id"]), row["status"]) == ("title", key.id, 200)
        assert (row["tier"], row["cost_usd"], row["asked_model"]) == ("local", 0, "local")
        assert row["completion_tokens"] > 0
    async with httpx.AsyncClient(
        base_url=api.url, headers={"x-internal-token": INTERNAL_SECRET}, timeout=PATIENCE_S
    ) as client:
        listed = (await client.get("/claw/v1/usage")).json()["usage"]
    assert {entry["purpose"] for entry in listed} == {"title"}


async def test_vectors_are_made_by_a_local_model(gateway: Gateway, fleet: Fleet, eventually: Eventually) -> None:
    """Each text has its own, and the model says its name; fewer vectors than texts are an error."""
    answer = {
        "data": [{"index": 0, "embedding": [0.5, -1.0]}, {"index": 1, "embedding": [0.25, 2.0]}],
        "model": EMBEDDER,
    }
    async with ScriptedUpstream(models=(EMBEDDER,)) as scripted:
        await fleet.worker(CLAW_LOCAL_OPENAI_URL="", CLAW_LOCAL_EMBEDDINGS_URL=scripted.url + "/v1")
        await fleet.recorder()
        await has_workers(gateway, eventually)
        scripted.routes["/v1/embeddings"] = json_answer(answer)
        own = OwnRequest(purpose="knowledge", timeout_s=PATIENCE_S, is_awaited=True)
        found = await embed(gateway.requests, own, EMBEDDER, ["one", "two"])
        assert found.model == EMBEDDER
        assert [list(vector) for vector in found.vectors] == [[0.5, -1.0], [0.25, 2.0]]
        (asked,) = (each for each in scripted.route_requests if each.path == "/v1/embeddings")
        assert asked.body["input"] == ["one", "two"]
        scripted.routes["/v1/embeddings"] = json_answer(answer | {"data": answer["data"][:1]})
        with pytest.raises(Malformed):
            await embed(gateway.requests, own, EMBEDDER, ["one", "two"])
    (row, _) = await rows_of(fleet, eventually, 2, "embeddings")
    assert (row["purpose"], row["key_id"], row["tier"]) == ("knowledge", None, "local")


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("how", ["time", "cancelled"])
async def test_what_nobody_waits_for_any_more_is_stopped(
    gateway: Gateway, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually, how: str
) -> None:
    """After its time, and when its caller is cancelled: the model's server is left, and the log says so."""
    await has_workers(gateway, eventually)
    upstream.hold_at = 0
    own = OwnRequest(purpose="title", timeout_s=PATIENCE_S if how == "cancelled" else 5.0)
    task = asyncio.create_task(chat(gateway.requests, own, HELLO))
    await eventually(lambda: upstream.held == 1)
    if how == "cancelled":
        task.cancel()
    with pytest.raises(asyncio.CancelledError if how == "cancelled" else TimeoutError):
        await task
    await eventually(lambda: upstream.aborted == 1)
    (row,) = await rows_of(fleet, eventually, 1)
    assert (row["purpose"], row["status"]) == ("title", 499)


@pytest.mark.parametrize("gateway_environment", [{"CLAW_MAX_WAITING_JOBS": "1"}])
async def test_a_full_queue_refuses_it(
    gateway: Gateway, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """With the error that a client would get, and a row of its own."""
    await fleet.worker(CLAW_LOCAL_OPENAI_SLOTS="1")
    await fleet.recorder()
    await has_workers(gateway, eventually)
    upstream.hold_at = 0
    tasks = [asyncio.create_task(chat(gateway.requests, TITLE, HELLO))]
    await eventually(lambda: upstream.held == 1)
    # The first waiting job of an owner has room in twice as long a queue.
    for number in (1, 2):
        tasks.append(asyncio.create_task(chat(gateway.requests, TITLE, HELLO)))

        async def waits(number: int = number) -> bool:
            return await waiting(gateway) >= number or tasks[-1].done()

        await eventually(waits)
    with pytest.raises(Overloaded) as refused:
        await asyncio.gather(tasks[-1], chat(gateway.requests, TITLE, HELLO))
    assert refused.value.code == "queue_full"
    upstream.resume.set()
    await asyncio.gather(*tasks, return_exceptions=True)

    async def is_logged() -> bool:
        return any(row["error_code"] == "queue_full" and row["purpose"] == "title" for row in await fleet.usage())

    await eventually(is_logged)


async def test_it_waits_for_the_requests_of_clients(
    gateway: Gateway, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Unless somebody waits for it: what came later is served before it."""
    await fleet.worker(CLAW_LOCAL_OPENAI_SLOTS="1")
    await has_workers(gateway, eventually)
    upstream.hold_at = 0

    def asked(text: str, *, is_awaited: bool = False) -> asyncio.Task[str]:
        own = OwnRequest(purpose="title", timeout_s=PATIENCE_S, is_awaited=is_awaited)
        return asyncio.create_task(chat(gateway.requests, own, [{"role": "user", "content": text}]))

    tasks = [asked("first")]
    await eventually(lambda: upstream.held == 1)
    for number, (text, is_awaited) in enumerate((("low", False), ("awaited", True)), 1):
        tasks.append(asked(text, is_awaited=is_awaited))

        async def waits(number: int = number) -> bool:
            return await waiting(gateway) == number

        await eventually(waits)
    upstream.resume.set()
    await asyncio.gather(*tasks)
    assert [each["messages"][0]["content"] for each in upstream.requests] == ["first", "awaited", "low"]


async def test_it_stays_local(gateway: Gateway, fleet: Fleet, eventually: Eventually) -> None:
    """Without a local worker it is refused, whatever else could serve it; so is a name that is not local."""
    async with ScriptedUpstream(models=("gpt-5.4-mini",)) as scripted:
        await fleet.worker("paid", OPENAI_API_KEY="secret", OPENAI_BASE_URL=scripted.url + "/v1")
        await fleet.recorder()
        await has_workers(gateway, eventually)
        with pytest.raises(Overloaded):
            await chat(gateway.requests, TITLE, HELLO)
        with pytest.raises(ModelNotAllowed):
            await chat(gateway.requests, TITLE, HELLO, model="gpt-5.4-mini")
        assert not [each for each in scripted.requests if each.path.endswith("completions")]
    rows = await rows_of(fleet, eventually, 2)
    assert {row["error_code"] for row in rows} == {"no_local_model", "tier_not_allowed"}


async def test_its_refusals_are_none_of_the_keys(gateway: Gateway, eventually: Eventually) -> None:
    """However many there are: the key may ask on."""
    async with Database(gateway.settings.database_url or "") as database:
        key, _ = await KeyStore(database).create("caused them", rpm_limit=1)
    await eventually(lambda: gateway.relay.connected)
    own = OwnRequest(purpose="title", timeout_s=PATIENCE_S, key_id=key.id)
    for _ in range(70):
        with pytest.raises(Overloaded):
            await chat(gateway.requests, own, HELLO)

    async def all_written() -> bool:
        return bool(await gateway.redis.xlen("claw:usage") == 70)

    await eventually(all_written)
    assert not gateway.usage_log.is_refused_too_often(key.id, key.rpm_limit)
