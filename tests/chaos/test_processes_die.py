"""Workers and api processes are killed: nobody hangs, nothing is made twice, everything is logged once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.redis import client as redis_client
from tests.e2e.response_rules import response_faults
from tests.fleet import PATIENCE_S, Fleet, Process, chat, ready
from tests.responses import stored_ids, text_of, until_kept, until_stored
from tests.streams import Reader, events, usage_rows
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from cli.up.embedded.valkey import EmbeddedValkey
    from tests.conftest import Eventually

pytestmark = pytest.mark.switched


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return settings by which a dead api is soon judged so: Redis is never away for long here."""
    return {"CLAW_REDIS_OUTAGE_S": "2"}


def worker_of(fleet: Fleet) -> Process:
    """Return the first local worker."""
    return next(process for process in fleet.processes if process.name.startswith("local"))


async def another_worker(fleet: Fleet, eventually: Eventually) -> None:
    """Start one more local worker, that serves already."""
    process = await fleet.worker()
    await eventually(lambda: "serving" in process.log.read_text())


async def test_a_killed_workers_streams_with_content_end_with_an_error_event(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Committed streams are never tried again, though another worker is there; each is logged once, with its tokens."""
    upstream.hold_at = 7
    readers = [Reader(client) for _ in range(5)]
    await eventually(lambda: all(reader.content == words(7) for reader in readers))
    await another_worker(fleet, eventually)
    worker_of(fleet).kill()
    await asyncio.gather(*(reader.task for reader in readers))
    assert {reader.error["code"] for reader in readers} == {"worker_lost"}
    assert not any(reader.done for reader in readers)
    assert len(upstream.requests) == 5
    rows = await usage_rows(fleet, eventually, 5)
    assert {(row["status"], row["completion_tokens"], row["usage_source"]) for row in rows} == {(502, 7, "estimated")}


async def test_a_killed_workers_attempts_without_content_are_tried_by_another(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Streaming or not: the client only waits a little longer, and the log says that there were two attempts."""
    upstream.hold_at = 0
    readers = [Reader(client) for _ in range(3)]
    whole = asyncio.ensure_future(client.post("/v1/chat/completions", json=chat()))
    await eventually(lambda: upstream.held == 4)
    await another_worker(fleet, eventually)
    worker_of(fleet).kill()
    await eventually(lambda: upstream.aborted == 4)
    upstream.resume.set()
    await asyncio.gather(*(reader.task for reader in readers))
    assert [reader.content for reader in readers] == [words(40)] * 3
    assert (await whole).json()["choices"][0]["message"]["content"] == words(40)
    rows = await usage_rows(fleet, eventually, 4)
    assert {(row["status"], row["attempts"]) for row in rows} == {(200, 2)}


async def test_responses_outlive_a_killed_worker_as_chats_do(
    client: httpx.AsyncClient,
    fleet: Fleet,
    upstream: NumberedUpstream,
    valkey: EmbeddedValkey,
    eventually: Eventually,
) -> None:
    """Without content they are tried by another worker; with content a stream fails. All are stored as they ended."""
    asked = {"model": "numbered", "input": "one"}
    upstream.hold_at = 7
    begun = asyncio.ensure_future(client.post("/v1/responses", json={**asked, "stream": True}))
    await eventually(lambda: upstream.held == 1)
    later = Reader(client)  # what came before it has come, too
    await eventually(lambda: later.content == words(7))
    upstream.hold_at = 0
    others = [
        asyncio.ensure_future(client.post("/v1/responses", json={**asked, "stream": stream}))
        for stream in (False, True)
    ]
    await eventually(lambda: upstream.held == 4)
    await another_worker(fleet, eventually)
    redis = redis_client.connect(valkey.url())
    await until_kept(redis, words(7), eventually)
    await redis_client.close(redis)
    worker_of(fleet).kill()
    told = events((await begun).text.replace("event: ", ": ").replace("\ndata", "\n\ndata"))
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert [event["type"] for event in told[-2:]] == ["error", "response.failed"]
    failed = told[-1]["response"]
    assert (failed["id"], failed["status"], failed["error"]["code"]) == (
        told[0]["response"]["id"], "failed", "server_error",
    )  # fmt: skip
    await eventually(lambda: upstream.aborted == 4)
    upstream.resume.set()
    whole, streamed = [await other for other in others]
    ended = events(streamed.text.replace("event: ", ": ").replace("\ndata", "\n\ndata"))[-1]
    assert ended["type"] == "response.completed"
    for response in (whole.json(), ended["response"]):
        assert text_of(response) == words(40)
        assert (await client.get(f"/v1/responses/{response['id']}")).json() == response
    await later.task
    rows = await usage_rows(fleet, eventually, 3, "responses")
    stored = (await client.get(f"/v1/responses/{failed['id']}")).json()
    assert (stored["status"], stored["error"]["code"], text_of(stored)) == ("failed", "server_error", words(7))
    assert response_faults(stored) == []
    again = await client.post("/v1/responses", json={**asked, "previous_response_id": failed["id"]})
    assert (again.status_code, again.json()["error"]["code"]) == (400, "previous_response_not_completed")
    assert sorted((row["status"], row["attempts"]) for row in rows) == [(200, 2), (200, 2), (502, 1)]


async def test_a_body_that_had_begun_is_not_made_twice(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Not streamed, but the model had begun to answer when its worker died: an error, not a second generation."""
    upstream.hold_at = 7
    whole = asyncio.ensure_future(client.post("/v1/chat/completions", json=chat()))
    await eventually(lambda: upstream.held == 1)
    # The word that the model began comes by the relay: a stream that started later proves that it has come.
    later = Reader(client)
    await eventually(lambda: later.content == words(7))
    await another_worker(fleet, eventually)
    worker_of(fleet).kill()
    reply = await whole
    await later.task
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "worker_lost")
    assert len(upstream.requests) == 2


async def test_jobs_that_wait_are_taken_by_another_worker(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """A killed worker's queue is not lost: ten waiting requests are answered by the worker that comes after it."""
    process = await fleet.api(CLAW_HEARTBEAT_BOUND_S="8")  # until the other one is there
    await fleet.worker(CLAW_LOCAL_OPENAI_SLOTS="1")
    await fleet.recorder()
    await ready(process, eventually)
    upstream.hold_at = 0
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=process.url, headers=headers, timeout=60) as client:
        readers = [Reader(client) for _ in range(11)]
        await eventually(lambda: upstream.held == 1)
        worker_of(fleet).kill()
        await fleet.worker()
        upstream.resume.set()
        await asyncio.gather(*(reader.task for reader in readers))
    assert [reader.content for reader in readers] == [words(40)] * 11
    rows = await usage_rows(fleet, eventually, 11)
    assert {row["status"] for row in rows} == {200}


async def test_without_any_worker_left_a_request_fails_clearly(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Nobody waits for the dead: the request that was running ends, and new ones are refused with 503."""
    upstream.hold_at = 0
    running = asyncio.ensure_future(client.post("/v1/chat/completions", json=chat()))
    await eventually(lambda: upstream.held == 1)
    worker_of(fleet).kill()
    assert (await running).status_code == 502

    async def refused() -> bool:
        reply = await client.post("/v1/chat/completions", json=chat(model="auto"))
        return reply.status_code == 503 and reply.json()["error"]["code"] == "no_local_model"

    await eventually(refused)


async def test_a_killed_apis_requests_are_cancelled_upstream_and_logged_as_orphaned(
    api: Process, client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Its running streams stop at the model; one that still waited in a queue is closed as well; no lease is left."""
    upstream.hold_at = 7
    readers = [Reader(client) for _ in range(5)]
    await eventually(lambda: all(reader.content == words(7) for reader in readers))
    api.kill()
    await eventually(lambda: upstream.aborted == 5)
    await asyncio.gather(*(reader.task for reader in readers), return_exceptions=True)
    rows = await usage_rows(fleet, eventually, 5)
    assert {(row["status"], row["error_code"], row["completion_tokens"]) for row in rows} == {(499, "orphaned", 7)}


async def test_an_api_and_its_worker_killed_together_leave_no_open_request(
    client: httpx.AsyncClient,
    fleet: Fleet,
    upstream: NumberedUpstream,
    valkey: EmbeddedValkey,
    eventually: Eventually,
) -> None:
    """The recorder finds what both left behind and closes it, once; a response is stored as far as it came."""
    upstream.hold_at = 7
    readers = [Reader(client) for _ in range(5)]
    asked = {"model": "numbered", "input": "one", "stream": True}
    response = asyncio.ensure_future(client.post("/v1/responses", json=asked))
    await eventually(lambda: all(reader.content == words(7) for reader in readers))
    redis = redis_client.connect(valkey.url())
    await until_kept(redis, words(7), eventually)
    await redis_client.close(redis)
    worker_of(fleet).kill()
    next(process for process in fleet.processes if process.name.startswith("api")).kill()
    await asyncio.gather(*(reader.task for reader in readers), return_exceptions=True)
    rows = await usage_rows(fleet, eventually, 5)
    assert {(row["status"], row["error_code"]) for row in rows} == {(499, "orphaned")}
    await asyncio.gather(response, return_exceptions=True)
    (name,) = await eventually(lambda: stored_ids(fleet))
    stored = json.loads((await until_stored(fleet, name, eventually))["body"])
    assert (stored["status"], text_of(stored)) == ("failed", words(7))


async def test_a_worker_reported_to_stop_ends_what_it_has_and_takes_nothing_new(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """SIGTERM: running streams end whole, the process ends by itself, another worker serves meanwhile."""
    upstream.hold_at = 7
    readers = [Reader(client) for _ in range(5)]
    await eventually(lambda: all(reader.content == words(7) for reader in readers))
    first = worker_of(fleet)
    other = await fleet.worker()
    await eventually(lambda: "serving" in other.log.read_text())
    first.terminate()
    await eventually(lambda: "draining" in first.log.read_text())
    upstream.resume.set()
    late = Reader(client)
    await asyncio.gather(late.task, *(reader.task for reader in readers))
    assert [reader.content for reader in (*readers, late)] == [words(40)] * 6
    assert await first.process.wait() == 0


async def test_a_worker_that_must_stop_in_the_middle_reports_it(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Past the drain time, a stream with content ends with an error event and one without goes to another worker."""
    process = await fleet.api()
    first = await fleet.worker(CLAW_DRAIN_S="0.2")
    await ready(process, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=process.url, headers=headers, timeout=60) as client:
        upstream.hold_at = 7
        begun = Reader(client)
        await eventually(lambda: begun.content == words(7))
        upstream.hold_at = 0
        silent = Reader(client)
        await eventually(lambda: upstream.held == 2)
        other = await fleet.worker()
        await eventually(lambda: "serving" in other.log.read_text())
        first.terminate()
        await begun.task
        assert begun.error["code"] == "draining"
        await eventually(lambda: upstream.aborted == 2)
        upstream.resume.set()
        await silent.task
        assert silent.content == words(40)
    assert await first.process.wait() == 0


async def test_an_api_reported_to_stop_ends_its_streams_and_then_itself(
    api: Process, client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """SIGTERM: running streams end whole, new connections are refused, the process ends with code 0."""
    upstream.hold_at = 7
    readers = [Reader(client) for _ in range(5)]
    await eventually(lambda: all(reader.content == words(7) for reader in readers))
    api.terminate()

    async def refused() -> bool:
        try:
            async with httpx.AsyncClient(timeout=PATIENCE_S) as other:
                return (await other.get(f"{api.url}/ready")).status_code == 503
        except httpx.TransportError:
            return True

    await eventually(refused)
    upstream.resume.set()
    await asyncio.gather(*(reader.task for reader in readers))
    assert [reader.content for reader in readers] == [words(40)] * 5
    assert await api.process.wait() == 0
    rows = await usage_rows(fleet, eventually, 5)
    assert {row["status"] for row in rows} == {200}


async def test_nothing_is_left_in_redis_when_all_is_said(
    client: httpx.AsyncClient, valkey: EmbeddedValkey, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """After answers, failures and departures: no job, no mark, no open request, no unread usage."""
    upstream.failures = [500, 500]
    replies = await asyncio.gather(*(client.post("/v1/chat/completions", json=chat()) for _ in range(10)))
    assert sorted(reply.status_code for reply in replies) == [200] * 8 + [502] * 2
    upstream.hold_at = 3
    reader = Reader(client)
    await eventually(lambda: reader.content == words(3))
    reader.task.cancel()
    await eventually(lambda: upstream.aborted == 1)
    redis = redis_client.connect(valkey.url())
    try:

        async def clean() -> bool:
            keys = await redis.keys("*")
            left = [key for key in keys if key.startswith((b"arq:job", b"arq:in-progress", b"claw:open"))]
            return not left and await redis.xlen("claw:usage") == 0

        await eventually(clean)
    finally:
        await redis_client.close(redis)
