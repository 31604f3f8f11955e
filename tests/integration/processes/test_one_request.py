"""The way of one request through real processes: api, queue, worker, relay, recorder."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING

import httpx
import msgspec
from arq.connections import ArqRedis
from arq.jobs import Job, JobStatus

from tests.fleet import Fleet, Process, chat, ready
from tests.streams import content, events, usage_rows
from tests.upstreams.numbered import MODEL, NumberedUpstream, words

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tests.conftest import Eventually


async def queue_with_one_waiting(redis: Redis, eventually: Eventually) -> bytes:
    """Return the name of the only queue, once one job waits in it."""

    async def waiting() -> bytes | None:
        names = [name for name in await redis.keys("arq:queue:*") if not name.endswith(b":health-check")]
        return names[0] if names and await redis.zcard(names[0]) == 1 else None

    queue: bytes = await eventually(waiting)
    return queue


async def test_a_reply_that_is_not_streamed_is_whole_and_logged(
    client: httpx.AsyncClient, fleet: Fleet, eventually: Eventually
) -> None:
    """One body with the upstream's words and counts, and one usage row that says the same."""
    reply = await client.post("/v1/chat/completions", json=chat())
    assert reply.status_code == 200
    body = reply.json()
    assert body["choices"][0]["message"]["content"] == words(20)
    assert body["usage"]["total_tokens"] == 23
    (row,) = await usage_rows(fleet, eventually, 1)
    assert (row["status"], row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (
        200,
        3,
        20,
        "reported",
    )
    assert row["request_id"].hex == body["id"].removeprefix("chatcmpl-")
    assert row["tier_source"] == "local"
    assert row["model"] == MODEL


async def test_a_body_of_many_frames_is_whole(client: httpx.AsyncClient, upstream: NumberedUpstream) -> None:
    """A reply larger than any one message on the relay arrives in one piece."""
    upstream.tokens = 200_000
    reply = await client.post("/v1/chat/completions", json=chat())
    assert reply.json()["choices"][0]["message"]["content"] == words(200_000)
    assert int(reply.headers["content-length"]) == len(reply.content)


async def test_a_stream_has_openais_order(client: httpx.AsyncClient) -> None:
    """Role first, then content, the finish with an empty delta, the usage chunk, the end mark."""
    asked = chat(stream=True, stream_options={"include_usage": True})
    reply = await client.post("/v1/chat/completions", json=asked)
    chunks = events(reply.text)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["x-accel-buffering"] == "no"
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert content(chunks) == words(20)
    assert chunks[-3]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert chunks[-2]["choices"] == []
    assert chunks[-2]["usage"]["completion_tokens"] == 20
    assert chunks[-1] is None
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks[:-1]}) == 1
    assert all(chunk["usage"] is None for chunk in chunks[:-2])


async def test_tokens_are_forwarded_as_they_come(client: httpx.AsyncClient, upstream: NumberedUpstream) -> None:
    """The client has every token that the upstream has sent while the upstream waits for the client."""
    upstream.hold_at = 7
    async with client.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as reply:
        text = ""
        async for piece in reply.aiter_text():
            text += piece
            if " t6" in text and not upstream.resume.is_set():
                assert upstream.held == 1
                upstream.resume.set()
    assert content(events(text)) == words(20)


async def test_a_waiting_job_is_readable_json_for_arqs_own_tools(
    client: httpx.AsyncClient, redis: Redis, upstream: NumberedUpstream, eventually: Eventually, fleet: Fleet
) -> None:
    """A job that no slot is free for stands in its queue as JSON; arq's client lists it as queued."""
    for process in fleet.processes:
        if process.name.startswith("local"):
            process.terminate()
            await process.process.wait()
    await fleet.worker(CLAW_LOCAL_OPENAI_SLOTS="1")

    async def served() -> bool:
        return (await client.get("/v1/models/" + MODEL)).status_code == 200

    await eventually(served)
    upstream.hold_at = 0
    first = asyncio.create_task(client.post("/v1/chat/completions", json=chat()))
    await eventually(lambda: upstream.held == 1)
    second = asyncio.create_task(client.post("/v1/chat/completions", json=chat(user="the waiting one")))
    queue = await queue_with_one_waiting(redis, eventually)
    ((job_id, _),) = await redis.zrange(queue, 0, -1, withscores=True)
    job = json.loads(await redis.get(b"arq:job:" + job_id))
    assert job["f"] == "attempt"
    assert job["k"]["body"]["user"] == "the waiting one"
    arq = ArqRedis(redis.connection_pool, job_deserializer=msgspec.json.decode)
    (queued,) = await arq.queued_jobs(queue_name=queue.decode())
    assert queued.kwargs["asked_model"] == MODEL
    status = await Job(job_id.decode(), arq, queue.decode(), msgspec.json.decode).status()
    assert status == JobStatus.queued
    upstream.resume.set()
    assert [reply.status_code for reply in await asyncio.gather(first, second)] == [200, 200]


async def test_the_limit_is_exact_across_api_processes(
    fleet: Fleet, api: Process, eventually: Eventually, upstream: NumberedUpstream
) -> None:
    """Of forty requests at once through two api processes, a key of ten gets ten; the others are told when."""
    other = await fleet.api()
    await ready(other, eventually)
    headers = {"authorization": f"Bearer {await fleet.key(rpm_limit=10)}"}
    async with httpx.AsyncClient(headers=headers, timeout=60) as client:
        replies = await asyncio.gather(
            *(
                client.post(f"{process.url}/v1/chat/completions", json=chat())
                for _ in range(20)
                for process in (api, other)
            )
        )
    refused = [reply for reply in replies if reply.status_code == 429]
    assert len(refused) == 30
    assert len(upstream.requests) == 10
    assert all(0 < int(reply.headers["retry-after"]) <= 60 for reply in refused)
    assert refused[0].json()["error"]["code"] == "rate_limit_exceeded"
    assert {reply.headers["x-ratelimit-remaining-requests"] for reply in replies} == {str(n) for n in range(10)}
    rows = await usage_rows(fleet, eventually, 40)
    assert sorted(row["status"] for row in rows) == [200] * 10 + [429] * 30


async def test_a_full_queue_is_503_with_retry_after_and_costs_nothing(
    fleet: Fleet, redis: Redis, eventually: Eventually, upstream: NumberedUpstream
) -> None:
    """With one slot and room for one job, the third request is refused and does not count for its key."""
    upstream.hold_at = 0
    process = await fleet.api(CLAW_MAX_WAITING_JOBS="1")
    await fleet.worker(CLAW_LOCAL_OPENAI_SLOTS="1")
    await ready(process, eventually)
    headers = {"authorization": f"Bearer {await fleet.key(rpm_limit=3)}"}
    async with httpx.AsyncClient(base_url=process.url, headers=headers, timeout=60) as client:
        first = asyncio.create_task(client.post("/v1/chat/completions", json=chat()))
        await eventually(lambda: upstream.held == 1)
        second = asyncio.create_task(client.post("/v1/chat/completions", json=chat()))
        await queue_with_one_waiting(redis, eventually)
        refused = await client.post("/v1/chat/completions", json=chat())
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_full")
        assert int(refused.headers["retry-after"]) > 0
        upstream.resume.set()
        assert [reply.status_code for reply in await asyncio.gather(first, second)] == [200, 200]
        assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200


async def test_an_upstream_failure_before_content_keeps_its_status(
    client: httpx.AsyncClient, upstream: NumberedUpstream, fleet: Fleet, eventually: Eventually
) -> None:
    """A model server's error is a real HTTP status, for a stream too, and is logged once."""
    upstream.failures = [500, 429]
    broken = await client.post("/v1/chat/completions", json=chat(stream=True))
    waited = await client.post("/v1/chat/completions", json=chat())
    assert (broken.status_code, broken.json()["error"]["code"]) == (502, "upstream_unavailable")
    assert (waited.status_code, len(upstream.requests)) == (200, 3), "a 429 of the only backend is waited out"
    rows = await usage_rows(fleet, eventually, 2)
    assert [row["status"] for row in rows] == [502, 200]
    assert [row["completion_tokens"] for row in rows] == [0, upstream.tokens]


async def test_an_upstream_that_breaks_off_is_an_error_event_never_a_stop(
    client: httpx.AsyncClient, upstream: NumberedUpstream, fleet: Fleet, eventually: Eventually
) -> None:
    """After content: every token so far, one error event, no finish, no [DONE]; what was delivered is counted."""
    upstream.cut_at = 5
    reply = await client.post("/v1/chat/completions", json=chat(stream=True))
    chunks = events(reply.text)
    assert reply.status_code == 200
    assert content(chunks) == words(5)
    assert chunks[-1]["error"]["code"] == "upstream_stream_broken"
    assert all(choice["finish_reason"] is None for chunk in chunks[:-1] for choice in chunk["choices"])
    (row,) = await usage_rows(fleet, eventually, 1)
    assert (row["status"], row["completion_tokens"], row["usage_source"]) == (502, 5, "estimated")


async def test_a_client_that_leaves_mid_stream_stops_the_model(
    client: httpx.AsyncClient, upstream: NumberedUpstream, fleet: Fleet, eventually: Eventually
) -> None:
    """The upstream sees its connection closed, and the usage log has what was made until then."""
    upstream.hold_at = 4
    async with client.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as reply:
        async for piece in reply.aiter_text():
            if " t3" in piece:
                break
    await eventually(lambda: upstream.aborted == 1)
    (row,) = await usage_rows(fleet, eventually, 1)
    assert (row["status"], row["error_code"], row["completion_tokens"]) == (499, "cancelled", 4)


async def test_a_client_that_leaves_before_the_first_token_stops_the_model(
    client: httpx.AsyncClient, upstream: NumberedUpstream, fleet: Fleet, eventually: Eventually
) -> None:
    """Streaming or not: the upstream call ends though nobody has seen a token of it."""
    upstream.hold_at = 0

    def aborted(number: int) -> bool:
        return upstream.aborted == number

    for number, stream in enumerate((True, False), start=1):
        request = asyncio.create_task(client.post("/v1/chat/completions", json=chat(stream=stream)))
        await eventually(lambda: upstream.held == 1)
        request.cancel()
        await eventually(partial(aborted, number))
    rows = await usage_rows(fleet, eventually, 2)
    assert [row["status"] for row in rows] == [499, 499]


async def test_a_client_that_leaves_while_queued_is_never_served(
    client: httpx.AsyncClient, redis: Redis, upstream: NumberedUpstream, fleet: Fleet, eventually: Eventually
) -> None:
    """Its job is taken out of the queue: the upstream never hears of it."""
    await client.post("/v1/chat/completions", json=chat())
    for process in fleet.processes:
        if process.name.startswith("local"):
            process.process.send_signal(19)  # SIGSTOP: alive for the api's view, and not claiming
    request = asyncio.create_task(client.post("/v1/chat/completions", json=chat()))
    queue = await queue_with_one_waiting(redis, eventually)
    request.cancel()

    async def gone() -> bool:
        return not await redis.zcard(queue)

    await eventually(gone)
    for process in fleet.processes:
        process.process.send_signal(18)  # SIGCONT
    rows = await usage_rows(fleet, eventually, 2)
    assert [row["status"] for row in rows] == [200, 499]
    assert len(upstream.requests) == 1


async def test_a_revoked_key_stops_everywhere(fleet: Fleet, api: Process, eventually: Eventually) -> None:
    """Revoked through one api process, a key that another has cached is refused there too."""
    other = await fleet.api()
    await ready(other, eventually)
    secret = await fleet.key()
    headers = {"authorization": f"Bearer {secret}"}
    internal = {"x-internal-token": "internal-secret-of-the-tests"}
    async with httpx.AsyncClient(timeout=60) as client:
        for process in (api, other):
            reply = await client.get(f"{process.url}/v1/models", headers=headers)
            assert reply.status_code == 200
        keys = (await client.get(f"{api.url}/claw/v1/api-keys", headers=internal)).json()["keys"]
        revoked = await client.delete(f"{api.url}/claw/v1/api-keys/{keys[0]['id']}", headers=internal)
        assert revoked.status_code == 200

        async def refused() -> bool:
            reply = await client.get(f"{other.url}/v1/models", headers=headers)
            return reply.status_code == 401

        await eventually(refused)
        reply = await client.post(f"{other.url}/v1/chat/completions", headers=headers, json=chat())
        assert reply.status_code == 401


async def test_models_follow_the_upstream(
    client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """A model that appears is offered, one that disappears is not, and `local` needs one to be there."""

    async def offered() -> set[str]:
        return {model["id"] for model in (await client.get("/v1/models")).json()["data"]}

    assert await offered() == {"auto", "local", MODEL}
    upstream.models = ["other"]

    async def changed() -> bool:
        return await offered() == {"auto", "local", "other"}

    await eventually(changed)
    upstream.models = []

    async def empty() -> bool:
        return await offered() == set()

    await eventually(empty)
    reply = await client.post("/v1/chat/completions", json=chat(model="local"))
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "no_local_model")


async def test_a_waiting_stream_gets_its_head_and_keep_alive_comments(
    fleet: Fleet, eventually: Eventually, upstream: NumberedUpstream
) -> None:
    """A model that thinks for long leaves the client with a 200 and comments, and then the answer."""
    upstream.hold_at = 0
    process = await fleet.api(CLAW_HEAD_WAIT_S="0.2", CLAW_KEEP_ALIVE_S="0.2")
    await fleet.worker()
    await ready(process, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    text = ""
    async with (
        httpx.AsyncClient(base_url=process.url, headers=headers, timeout=60) as client,
        client.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as reply,
    ):
        assert reply.status_code == 200
        async for piece in reply.aiter_text():
            text += piece
            if text.count(": keep-alive\n\n") == 3:
                upstream.resume.set()
    assert content(events(text)) == words(20)


async def test_names_that_cannot_be_served_are_listed_with_their_reason_on_demand(client: httpx.AsyncClient) -> None:
    """Those that are always accepted: each with what a request would be told. Clients that do not ask see none."""
    listed = (await client.get("/v1/models")).json()["data"]
    assert all("available" not in model for model in listed)
    answer = await client.get("/v1/models", params={"unavailable": "true"})
    missing = {model["id"]: model for model in answer.json()["data"] if not model.get("available", True)}
    for name, variable in (
        ("gpt-4o", "OPENAI_API_KEY"),
        ("gemini-1.5-flash", "GEMINI_API_KEY"),
        ("claude-3-5-sonnet", "ANTHROPIC_API_KEY"),
    ):
        assert variable in missing[name]["reason"]
        refused = await client.post("/v1/chat/completions", json={**chat(), "model": name})
        assert refused.json()["error"]["message"] == missing[name]["reason"]
    assert (await client.get("/v1/models", params={"unavailable": "perhaps"})).status_code == 400
