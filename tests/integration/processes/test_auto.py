"""`auto` over three tiers, with real processes: local first, then the free tier, then the paid one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import httpx
import pytest

from shared.models.catalogue import nano_usd
from tests.clock import day_lasts
from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, Process, chat, ready
from tests.streams import Reader, content, events, usage_rows
from tests.upstreams.gemini import replies as gemini_replies
from tests.upstreams.numbered import MODEL, NumberedUpstream, words
from tests.upstreams.scripted import ScriptedUpstream, json_answer, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from tests.conftest import Eventually


class World(NamedTuple):
    """A gateway with three tiers, its client, and the model servers."""

    client: httpx.AsyncClient
    fleet: Fleet
    backend: NumberedUpstream
    gemini: ScriptedUpstream
    openai: NumberedUpstream


FREE, PAID = "gemini-3.8-flash", "gpt-6-luna"
AUTO = chat(model="auto")


@pytest.fixture
async def gemini() -> AsyncIterator[ScriptedUpstream]:
    """Yield Google's API; it says "free" as often as it is asked."""
    async with ScriptedUpstream(models=(FREE,)) as server:
        server.fallback = sse(gemini_replies.text("free"))
        yield server


@pytest.fixture
async def openai() -> AsyncIterator[NumberedUpstream]:
    """Yield OpenAI's API; it counts."""
    async with NumberedUpstream(tokens=3) as server:
        server.models = [PAID, "gpt-4.1"]
        yield server


@pytest.fixture
def apis(gemini: ScriptedUpstream, openai: NumberedUpstream) -> tuple[ScriptedUpstream, NumberedUpstream]:
    """Return the two that others run."""
    return gemini, openai


@pytest.fixture
async def api(
    fleet: Fleet, upstream: NumberedUpstream, apis: tuple[ScriptedUpstream, NumberedUpstream], eventually: Eventually
) -> Process:
    """Three tiers; the local one has one slot, and a wait of more than a second there is too long."""
    gemini, openai = apis
    upstream.tokens = 2
    started = await fleet.api(CLAW_LOCAL_MAX_WAIT_S="1", PLUGIN_AI_MONTHLY_BUDGET_USD="0.20")
    await fleet.worker(CLAW_LOCAL_OPENAI_SLOTS="1")
    catalogue = fleet.directory / "catalogue.toml"
    catalogue.write_text("[quotas.default]\nrequests_per_minute = 1000\nrequests_per_day = 1000\n")
    await fleet.worker("gemini", GEMINI_API_KEY="free-key", GEMINI_BASE_URL=gemini.url, CLAW_CATALOGUE=str(catalogue))
    await fleet.worker("paid", OPENAI_API_KEY="paid-key", OPENAI_BASE_URL=openai.url)
    await fleet.recorder()
    await ready(started, eventually)
    async with httpx.AsyncClient(
        base_url=started.url, headers={"authorization": f"Bearer {await fleet.key()}"}, timeout=PATIENCE_S
    ) as asking:

        async def all_tiers() -> bool:
            listed = (await asking.get("/v1/models")).json()["data"]
            return {MODEL, FREE, PAID} <= {model["id"] for model in listed}

        await eventually(all_tiers)
    return started


@pytest.fixture
async def world(
    fleet: Fleet, api: Process, upstream: NumberedUpstream, apis: tuple[ScriptedUpstream, NumberedUpstream]
) -> AsyncIterator[World]:
    """Yield all of it, with a key without a limit that matters."""
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as client:
        yield World(client, fleet, upstream, *apis)


def route_of(reply: httpx.Response) -> tuple[str, str, str]:
    """Return who answered, as the headers say."""
    names = ("x-nself-tier", "x-nself-model", "x-nself-attempts")
    return tuple(reply.headers[name] for name in names)  # type: ignore[return-value]  # as many as names


async def busy_local_tier(world: World, eventually: Eventually) -> Reader:
    """Return a stream that keeps the only local slot."""
    world.backend.hold_at = 1
    reader = Reader(world.client, model="local")
    await eventually(lambda: world.backend.held == 1)
    return reader


async def test_auto_goes_on_to_the_next_tier_only_when_it_is_needed(world: World, eventually: Eventually) -> None:
    """Local while there is room, then the free tier; who answered is in the headers and in the usage log."""
    assert route_of(await world.client.post("/v1/chat/completions", json=AUTO)) == ("local", MODEL, "1")
    held = await busy_local_tier(world, eventually)
    queued = [Reader(world.client, model="local") for _ in range(2)]
    reply = await world.client.post("/v1/chat/completions", json=AUTO)
    assert route_of(reply) == ("gemini", FREE, "1")
    assert reply.json()["choices"][0]["message"]["content"] == "free"
    world.backend.resume.set()
    await asyncio.gather(held.task, *(reader.task for reader in queued))
    rows = await usage_rows(world.fleet, eventually, 5)
    assert sorted(row["tier_source"] for row in rows) == ["free_gemini"] + ["local"] * 4
    assert not world.openai.requests


async def test_a_request_that_names_its_class_goes_by_the_rules_of_that(world: World) -> None:
    """`code` prefers the free tier here, and a chat stays local; what is no class of chats is refused by name."""
    headers = {"x-internal-token": INTERNAL_SECRET}
    first = [{"task_class": "code", "source_tier": "free_gemini", "priority": 1}]
    assert (await world.client.put("/ai/routing/config", json=first, headers=headers)).status_code == 200

    async def route(task_class: str) -> tuple[str, str, str]:
        named = {"x-nself-task-class": task_class}
        return route_of(await world.client.post("/v1/chat/completions", json=AUTO, headers=named))

    assert await route("Code") == ("gemini", FREE, "1")
    assert await route("translate") == await route("chat") == ("local", MODEL, "1")
    for unknown in ("poems", "embeddings", "voice_tts"):
        named = {"x-nself-task-class": unknown}
        refused = await world.client.post("/v1/chat/completions", json=AUTO, headers=named)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "x-nself-task-class")


async def test_a_failure_before_content_goes_through_all_tiers(world: World, eventually: Eventually) -> None:
    """The paid one answers at the third attempt, once, and the log says so."""
    world.backend.failures = [503]
    world.gemini.add(json_answer(gemini_replies.error(503, "UNAVAILABLE"), 503))
    reply = await world.client.post("/v1/chat/completions", json=AUTO)
    assert route_of(reply) == ("paid", PAID, "3")
    assert reply.json()["model"] == PAID
    assert (len(world.backend.requests), len(world.gemini.requests), len(world.openai.requests)) == (1, 1, 1)
    (row,) = await usage_rows(world.fleet, eventually, 1)
    assert (row["tier_source"], row["model"], row["asked_model"], row["attempts"]) == ("api_key", PAID, "auto", 3)
    assert row["cost_usd"] > 0


async def test_what_the_caller_did_wrong_is_not_tried_elsewhere(world: World) -> None:
    """A model server's 400 is the caller's."""
    world.backend.failures = [400]
    reply = await world.client.post("/v1/chat/completions", json=AUTO)
    assert reply.status_code == 400
    assert not world.gemini.requests
    assert not world.openai.requests


async def waiting_locally(world: World, redis: Redis, eventually: Eventually) -> Reader:
    """Return a stream of `auto` whose job stands in the local queue, since that is known to be quick."""
    (queue,) = [name for name in await redis.keys("claw:running:*") if b"local" in name]

    async def stands() -> Reader | None:
        reader = Reader(world.client, model="auto")
        while not reader.task.done():
            if await redis.zcard(queue.removeprefix(b"claw:running:")):
                return reader
            await asyncio.sleep(0.01)
        return None  # the api did not know yet

    return cast("Reader", await eventually(stands))


async def test_a_job_that_waits_too_long_moves_on_and_never_runs_twice(
    world: World, redis: Redis, eventually: Eventually
) -> None:
    """The local tier looked free enough, but was not: the free tier answers, at the first attempt."""
    await world.client.post("/v1/chat/completions", json=AUTO)
    held = await busy_local_tier(world, eventually)
    waiting = await waiting_locally(world, redis, eventually)
    asked = len(world.gemini.requests)
    await waiting.task
    assert waiting.content == "free"
    assert len(world.gemini.requests) == asked + 1
    world.backend.resume.set()
    await held.task
    assert held.content == words(2)
    rows = await usage_rows(world.fleet, eventually, 3 + asked)
    assert {row["attempts"] for row in rows} == {1}
    assert len(world.backend.requests) == 2, "it never ran locally"


async def test_the_local_tier_takes_a_job_back_that_nothing_else_can_serve(
    world: World, redis: Redis, eventually: Eventually
) -> None:
    """It had moved on; the other tiers failed: it waits at the local tier again, however long."""
    await world.client.post("/v1/chat/completions", json=AUTO)
    held = await busy_local_tier(world, eventually)
    waiting = await waiting_locally(world, redis, eventually)
    world.gemini.fallback = json_answer(gemini_replies.error(503, "UNAVAILABLE"), 503)
    world.openai.failures = [503] * 5
    await eventually(lambda: len(world.openai.requests) > 0)
    world.backend.resume.set()
    await asyncio.gather(held.task, waiting.task)
    assert (waiting.content, waiting.done) == (words(2), True)


async def test_the_local_tier_serves_where_nothing_else_can(world: World, eventually: Eventually) -> None:
    """The other tiers fail at once: the request waits at the local tier rather than be refused."""
    world.gemini.fallback = json_answer(gemini_replies.error(503, "UNAVAILABLE"), 503)
    world.openai.failures = [503] * 5
    held = await busy_local_tier(world, eventually)
    waiting = Reader(world.client, model="auto")
    await eventually(lambda: len(world.gemini.requests) and len(world.openai.requests))
    world.backend.resume.set()
    await asyncio.gather(held.task, waiting.task)
    assert (waiting.content, waiting.done) == (words(2), True)


async def test_auto_goes_past_a_worker_that_is_ending(world: World, eventually: Eventually) -> None:
    """It finishes what it has; what comes now does not wait for its end."""
    held = await busy_local_tier(world, eventually)
    local = next(process for process in world.fleet.processes if process.name.startswith("local"))
    local.terminate()
    await eventually(lambda: "draining" in local.log.read_text())

    async def free() -> bool:
        return (await world.client.post("/v1/chat/completions", json=AUTO)).headers["x-nself-tier"] == "gemini"

    await eventually(free)
    assert not held.task.done()
    world.backend.resume.set()
    await held.task
    assert (held.content, held.done) == (words(2), True)


async def test_a_stream_whose_head_is_out_is_reported_who_answers_in_a_comment(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Once, right before the first event."""
    api = await fleet.api(CLAW_HEAD_WAIT_S="0.05")
    await fleet.worker()
    await ready(api, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as client:
        upstream.hold_at = 0
        reader = Reader(client, model="auto")
        await eventually(lambda: upstream.held == 1 and reader.status == 200)
        upstream.resume.set()
        await reader.task
        comment = f": x-nself-tier=local; x-nself-model={MODEL}; x-nself-attempts=1\n\n"
        assert reader.text.count(comment) == 1
        assert "data:" not in reader.text.partition(comment)[0]
        assert reader.done


async def test_a_parameter_that_a_forced_tier_cannot_do_costs_nothing(world: World) -> None:
    """400 naming it, before admission; `auto` finds a tier that can."""
    body = {"messages": AUTO["messages"], "prediction": {"type": "content", "content": "x"}}
    refused = await world.client.post("/v1/chat/completions", json={**body, "model": FREE})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "prediction")
    assert "x-ratelimit-limit-requests" not in refused.headers
    assert not world.gemini.requests
    served = await world.client.post("/v1/chat/completions", json={**body, "model": "auto"})
    assert served.headers["x-nself-tier"] == "local"
    assert world.backend.requests[-1]["prediction"] == body["prediction"]
    assert not world.openai.requests


async def test_the_budget_stops_what_is_paid_and_nothing_else(world: World, eventually: Eventually) -> None:
    """A forced paid model gets 429 insufficient_quota, told not to try again; `auto` goes on with what is free."""
    await day_lasts()
    # Twenty cents: 14,000 tokens of gpt-4.1 at 8 dollars a million are more than half of it.
    paid = {**AUTO, "model": "gpt-4.1", "max_tokens": 14_000}
    assert (await world.client.post("/v1/chat/completions", json=paid)).status_code == 200
    world.openai.hold_at = 1
    first = Reader(world.client, model="gpt-4.1", max_tokens=14_000)
    await eventually(lambda: world.openai.held == 1)
    for for_good, body in ((False, paid), (True, {**paid, "max_tokens": 30_000})):
        refused = await world.client.post("/v1/chat/completions", json=body)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["type"]) == (429, "insufficient_quota", "insufficient_quota")
        assert (refused.headers.get("x-should-retry") == "false", "retry-after" not in refused.headers) == (
            for_good,
        ) * 2
    world.backend.failures = [503]
    assert (await world.client.post("/v1/chat/completions", json=AUTO)).headers["x-nself-tier"] == "gemini"
    world.openai.resume.set()
    await first.task
    rows = await usage_rows(world.fleet, eventually, 5)
    spent = sum(nano_usd(float(row["cost_usd"])) for row in rows)
    token = {"x-internal-token": INTERNAL_SECRET}
    budget = (await world.client.get("/claw/v1/budget", headers=token)).json()
    assert nano_usd(budget["spent_usd"]) == spent > 0
    assert budget["held_usd"] == 0
    assert (await world.client.post("/v1/chat/completions", json=paid)).status_code == 200


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ((False, "high"), (403, "priority_not_allowed")),
        ((True, "urgent"), (400, "invalid_value")),
        ((True, "High"), (200, None)),
    ],
)
async def test_only_an_admins_key_sets_a_priority(
    fleet: Fleet, api: Process, asked: tuple[bool, str], answer: tuple[int, str | None]
) -> None:
    """Anyone else is told so; a priority that does not exist is named."""
    admin, priority = asked
    headers = {"authorization": f"Bearer {await fleet.key(admin_allowed=admin)}", "x-nself-priority": priority}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as client:
        reply = await client.post("/v1/chat/completions", json=AUTO)
    error: dict[str, Any] = reply.json().get("error", {})
    assert (reply.status_code, error.get("code")) == answer


async def test_a_stream_from_each_tier_is_whole(world: World) -> None:
    """The same chunks, whoever made them; a head that waited for the first of them says who."""
    for model, tier, served, said in (
        ("local", "local", MODEL, words(2)), (FREE, "gemini", FREE, "free"), (PAID, "paid", PAID, words(3))
    ):  # fmt: skip
        reply = await world.client.post("/v1/chat/completions", json=chat(model=model, stream=True))
        assert route_of(reply) == (tier, served, "1")
        assert "x-nself-tier" not in reply.text
        chunks = events(reply.text)
        assert content(chunks) == said
        assert chunks[-1] is None
