"""Responses of the background: polled, followed from any place, cancelled, bounded; whatever becomes of attempts."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from shared.redis.names import BACKGROUND_API, background_key, open_requests
from tests.fleet import PATIENCE_S, Fleet, Process
from tests.redis_names import immortal
from tests.responses import PATH, events, got, in_background, respond, status_of, text_of, until, until_stored
from tests.streams import usage_rows
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tests.conftest import Eventually


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Few responses of a key may be in the background."""
    return {"CLAW_MAX_BACKGROUND": "3"}


async def test_a_response_is_made_while_nobody_waits(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, redis: Redis, eventually: Eventually
) -> None:
    """Queued, in progress, completed; stored and logged once, and nothing of it stays in Redis for good."""
    upstream.hold_at = 5
    name = await in_background(client, metadata={"a": "b"})
    begun = await until(client, name, "in_progress", eventually)
    assert begun["metadata"] == {"a": "b"}
    assert (await got(client, f"{PATH}/{name}/input_items"))["data"][0]["content"][0]["text"] == "one"
    await eventually(lambda: upstream.held)
    upstream.resume.set()
    done = await until(client, name, "completed", eventually)
    assert (text_of(done), done["background"], done["usage"]["output_tokens"]) == (words(20), True, 20)
    await until_stored(fleet, name, eventually)
    assert await got(client, f"{PATH}/{name}") == done
    rows = await usage_rows(fleet, eventually, 1, "responses")
    assert [(row["status"], row["completion_tokens"], row["stream"]) for row in rows] == [(200, 20, True)]
    assert await redis.hlen(open_requests(BACKGROUND_API)) == 0  # type: ignore[misc]  # redis-py: or awaitable
    assert await immortal(redis) == []
    second = await respond(client, "two", previous_response_id=name)
    assert second["previous_response_id"] == name


async def test_events_are_followed_from_any_place(
    client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """While they come and after the end: each once, in order, numbered; nothing is lost where a follower leaves."""
    upstream.hold_at = 7
    name = await in_background(client)
    await eventually(lambda: upstream.held)
    first = await events(client, name, most=6)
    assert [event["sequence_number"] for event in first] == list(range(6))
    following = asyncio.create_task(events(client, name, after=5))
    upstream.resume.set()
    rest = await following
    everything = await events(client, name)
    assert [*first, *rest] == everything
    assert [event["sequence_number"] for event in everything] == list(range(len(everything)))
    begun = [event["type"] for event in everything[:3]]
    assert begun == ["response.created", "response.queued", "response.in_progress"]
    assert [event["response"]["status"] for event in everything[:3]] == ["queued", "queued", "in_progress"]
    assert everything[-1]["type"] == "response.completed"
    assert everything[-1]["response"] == await got(client, f"{PATH}/{name}")
    for after in (0, 3, len(everything) - 2, len(everything) - 1):
        assert await events(client, name, after=after) == everything[after + 1 :]
    deltas = [event["delta"] for event in everything if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == words(20)


async def test_a_stream_that_is_left_goes_on_in_the_background(
    client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """As openai's own client asks for it, and comes back."""
    upstream.hold_at = 7
    sdk = openai.AsyncOpenAI(
        base_url=f"{client.base_url}/v1", api_key=client.headers["authorization"].removeprefix("Bearer ")
    )
    seen: list[Any] = []
    async with await sdk.responses.create(model="numbered", input="one", background=True, stream=True) as stream:
        async for event in stream:
            seen.append(event)
            if len(seen) == 8:
                break
    name = seen[0].response.id
    upstream.resume.set()
    async with await sdk.responses.retrieve(name, stream=True, starting_after=seen[-1].sequence_number) as stream:
        seen += [event async for event in stream]
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert seen[-1].response.output_text == words(20)
    await until(client, name, "completed", eventually)
    assert upstream.aborted == 0
    await sdk.close()


async def test_a_stream_says_whose_it_is_before_anybody_serves_it(client: httpx.AsyncClient, fleet: Fleet) -> None:
    """So that its client can come back for it, whatever becomes of the connection."""
    for process in fleet.processes:
        if process.name.startswith("local"):
            process.kill()
    asked = {"model": "numbered", "input": "one", "background": True, "stream": True}
    said = b""
    async with client.stream("POST", PATH, json=asked) as reply:
        async for piece in reply.aiter_raw():
            said += piece
            if said.count(b"\n\n") >= 2:
                break
    told = [json.loads(line[6:]) for line in said.decode().split("\n") if line.startswith("data: ")]
    assert [event["type"] for event in told] == ["response.created", "response.queued"]
    name = told[0]["response"]["id"]
    assert await status_of(client, name) == "queued"
    assert (await events(client, name, after=0, most=1))[0] == told[1]


@pytest.mark.parametrize("place", ["queue", "worker"])
async def test_a_response_is_cancelled_wherever_it_is(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually, place: str
) -> None:
    """In a queue or at work; it stays cancelled, is logged so, and its upstream's connection is closed."""
    if place == "queue":
        for process in fleet.processes:
            if process.name.startswith("local"):
                process.kill()
    upstream.hold_at = 7
    name = await in_background(client)
    if place == "worker":
        await eventually(lambda: upstream.held)
    reply = await client.post(f"{PATH}/{name}/cancel")
    assert (reply.status_code, reply.json()["status"]) == (200, "cancelled"), reply.text
    if place == "worker":
        await eventually(lambda: upstream.aborted)
        assert words(7).startswith(text_of(reply.json()))
    again = await client.post(f"{PATH}/{name}/cancel")
    assert again.json() == reply.json()
    followed = await events(client, name)
    assert followed[-1]["response"]["status"] == "cancelled"

    async def row() -> list[dict[str, Any]]:
        return await fleet.usage("responses")

    (logged,) = await eventually(row)
    assert (logged["status"], logged["error_code"]) == (499, "request_cancelled")
    reply = await client.post(PATH, json={"model": "numbered", "input": "x", "previous_response_id": name})
    assert reply.json()["error"]["code"] == "previous_response_not_completed"


async def test_only_the_background_can_be_cancelled_or_followed(client: httpx.AsyncClient) -> None:
    """All else is refused by name."""
    name = (await respond(client, "one"))["id"]
    reply = await client.post(f"{PATH}/{name}/cancel")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "id")
    reply = await client.get(f"{PATH}/{name}", params={"stream": "true"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "events_gone")
    for query in ({"starting_after": "3"}, {"stream": "true", "starting_after": "x"}, {"stream": "perhaps"}):
        assert (await client.get(f"{PATH}/{name}", params=query)).status_code == 400
    reply = await client.post(PATH, json={"model": "numbered", "input": "x", "background": True, "store": False})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "store")


async def test_a_key_has_a_few_responses_in_the_background_at_a_time(
    client: httpx.AsyncClient, upstream: NumberedUpstream, redis: Redis, eventually: Eventually
) -> None:
    """One more is refused by name, and there is room again once one has ended, however it ends."""
    upstream.hold_at = 0
    names = [await in_background(client) for _ in range(3)]
    reply = await client.post(PATH, json={"model": "numbered", "input": "x", "background": True})
    assert (reply.status_code, reply.json()["error"]["code"]) == (429, "too_many_background_responses")
    assert (await client.post(f"{PATH}/{names[0]}/cancel")).json()["status"] == "cancelled"
    names[0] = await in_background(client)
    wrong = await client.post(PATH, json={"model": "nobody-has-it", "input": "x", "background": True})
    assert wrong.status_code == 404
    upstream.resume.set()
    for name in names:
        await until(client, name, "completed", eventually)
    (key,) = [key async for key in redis.scan_iter("claw:background:of:*")] or [b""]
    assert not key or await redis.zcard(key) == 0
    assert not key or key.decode().startswith(background_key(""))


async def test_another_key_has_no_such_response(
    client: httpx.AsyncClient, fleet: Fleet, api: Process, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Neither to look at, nor to follow, cancel, delete or continue."""
    upstream.hold_at = 5
    name = await in_background(client)
    await eventually(lambda: upstream.held)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as other:
        for method, path in (("GET", ""), ("GET", "?stream=true"), ("POST", "/cancel"), ("DELETE", "")):
            reply = await other.request(method, f"{PATH}/{name}{path}")
            assert reply.status_code == 404, path
    await until(client, name, "in_progress", eventually)  # its worker's first word may be on its way
    upstream.resume.set()
    await until(client, name, "completed", eventually)


async def test_a_deleted_response_is_ended_and_gone(
    client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Its worker stops, and nothing of it is stored."""
    upstream.hold_at = 5
    name = await in_background(client)
    await eventually(lambda: upstream.held)
    assert (await client.delete(f"{PATH}/{name}")).json()["deleted"]
    assert (await client.get(f"{PATH}/{name}")).status_code == 404
    await eventually(lambda: upstream.aborted)
    assert (await client.get(f"{PATH}/{name}")).status_code == 404


async def test_a_failed_attempt_is_followed_by_another(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Before its first content at another backend; where there is none, the response has failed and says why."""
    async with NumberedUpstream() as other:
        upstream.failures = [503]
        await fleet.worker(CLAW_LOCAL_OPENAI_URL=other.url)

        async def are_there() -> bool:
            workers = (await client.get("/ready")).json()
            return bool(workers) and all("serving" in process.log.read_text() for process in fleet.processes[-1:])

        await eventually(are_there)
        other.failures = [503]
        name = await in_background(client)
        done = await until(client, name, "completed", eventually)
        assert text_of(done) == words(20)
        assert len(upstream.failures) + len(other.failures) < 2
    (row,) = await usage_rows(fleet, eventually, 1, "responses")
    assert (row["status"], row["attempts"] > 1) == (200, True)


async def test_a_response_that_breaks_off_has_failed(
    client: httpx.AsyncClient, upstream: NumberedUpstream, fleet: Fleet, eventually: Eventually
) -> None:
    """After its first content nothing is tried again; what was said stays, and the stream ends with it."""
    upstream.cut_at = 7
    name = await in_background(client)
    failed = await until(client, name, "failed", eventually)
    assert failed["error"]["code"] == "server_error"
    assert text_of(failed) == words(7)
    followed = await events(client, name)
    assert (followed[-1]["type"], followed[-1]["response"]) == ("response.failed", failed)
    assert [event["sequence_number"] for event in followed] == list(range(len(followed)))
    (row,) = await usage_rows(fleet, eventually, 1, "responses")
    assert row["status"] == 502
    assert json.dumps(failed)
