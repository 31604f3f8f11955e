"""The queues as the operator sees them, with real processes: what waits, cancelling, pausing, draining, the story."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, Process, chat, ready
from tests.redis_names import undocumented
from tests.streams import Reader, usage_rows
from tests.upstreams.numbered import MODEL, NumberedUpstream, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from tests.conftest import Eventually

WAITING, WAVE = 1000, 50


@pytest.fixture
async def operator(api: Process) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the management API."""
    headers = {"x-internal-token": INTERNAL_SECRET}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as opened:
        yield opened


async def _backends(operator: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    return {each["backend"]: each for each in (await operator.get("/claw/queue")).json()["backends"]}


async def _listed(operator: httpx.AsyncClient, **filters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await operator.get("/claw/queue/requests", params={**filters, "cursor": cursor})).json()
        found += page["requests"]
        cursor = page["next_cursor"]
    return found


@pytest.fixture
async def hosts(fleet: Fleet) -> AsyncIterator[list[NumberedUpstream]]:
    """Three hosts of one slot each that hold every answer at its first token, each with a model of its own too."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(NumberedUpstream(tokens=2)) for _ in range(3)]
        for number, host in enumerate(opened):
            host.hold_at = 0
            host.models = [MODEL, f"only-{number}"]
            await fleet.worker(CLAW_LOCAL_OPENAI_URL=host.url, CLAW_LOCAL_OPENAI_SLOTS="1")
        yield opened
        for host in opened:
            host.resume.set()


async def test_a_thousand_waiting_requests_over_three_backends(
    fleet: Fleet, hosts: list[NumberedUpstream], redis: Redis, eventually: Eventually
) -> None:
    """All are seen a page at a time, one is cancelled, and what waits for a paused backend moves on to the others."""
    api = await fleet.api(CLAW_MAX_WAITING_JOBS="2000")
    await fleet.recorder()
    await ready(api, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with (
        AsyncExitStack() as clients,
        httpx.AsyncClient(base_url=api.url, headers={"x-internal-token": INTERNAL_SECRET}, timeout=60) as operator,
    ):

        async def all_are_there() -> dict[str, NumberedUpstream]:
            found = await _backends(operator)
            models = {model: place for place, each in found.items() for model in each["models"]}
            named = {models[f"only-{number}"]: host for number, host in enumerate(hosts) if f"only-{number}" in models}
            return named if len(named) == len(hosts) else {}

        places: dict[str, NumberedUpstream] = await eventually(all_are_there)
        readers: list[Reader] = []

        async def all_wait() -> bool:
            found = await _backends(operator)
            return bool(sum(found[place]["waiting"] + found[place]["running"] for place in places) == len(readers))

        # In waves: this is about what waits, not about how many can come in one moment.
        # A client each: one looks through all of its connections whenever one of them ends.
        while len(readers) < WAITING:
            client = httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S)
            await clients.enter_async_context(client)
            readers += [Reader(client) for _ in range(WAVE)]
            await eventually(all_wait)
        found = await _backends(operator)
        assert all(found[place]["running"] == 1 and found[place]["oldest_wait_s"] is not None for place in places)
        first = (await operator.get("/claw/queue/requests", params={"state": "waiting", "limit": 50})).json()
        assert [each["position"] for each in first["requests"]] == list(range(1, 51))
        assert {(each["model"], each["requested_model"], each["state"]) for each in first["requests"]} == {
            (MODEL, MODEL, "waiting")
        }
        every = await _listed(operator, limit=200)
        assert len({each["request_id"] for each in every}) == WAITING
        assert not await undocumented(redis)

        cancelled = first["requests"][7]["request_id"]
        assert (await operator.delete(f"/claw/queue/requests/{cancelled}")).status_code == 200
        [told] = await eventually(lambda: [reader for reader in readers if reader.task.done()])
        assert "request_cancelled" in told.text

        paused = first["requests"][0]["backend"]
        held = places.pop(paused)
        assert (await operator.post("/claw/queue/pause", json={"backend": paused})).status_code == 200
        held.resume.set()

        async def drained() -> bool:
            state = (await _backends(operator))[paused]
            return bool(state["state"] == "paused" and state["running"] == 0)

        await eventually(drained)
        for host in places.values():
            host.resume.set()
        await asyncio.gather(*(reader.task for reader in readers))
        assert [reader.content for reader in readers if reader is not told] == [words(2)] * (WAITING - 1)
        assert held.completed == 1, "what was running as it was paused, and nothing after it"
        rows = await usage_rows(fleet, eventually, WAITING)
        assert [row["error_code"] for row in rows if row["status"] != 200] == ["request_cancelled"]

        only = {host: f"only-{number}" for number, host in enumerate(hosts)}[held]
        waits = Reader(client, model=only)

        async def waits_there() -> bool:
            return bool((await _backends(operator))[paused]["waiting"] == 1)

        await eventually(waits_there)
        assert (await _backends(operator))[paused]["expected_wait_s"] is None, "nobody knows when it goes on"
        assert (await operator.post("/claw/queue/resume", json={"backend": paused})).status_code == 200
        await waits.task
        assert waits.content == words(2)


async def test_a_running_request_is_cancelled_with_its_upstream_call(
    operator: httpx.AsyncClient, client: httpx.AsyncClient, upstream: NumberedUpstream, fleet: Fleet,
    eventually: Eventually,
) -> None:  # fmt: skip
    """Its client gets what came before, then an error that it will not answer by asking again."""
    upstream.hold_at = 3
    reader = Reader(client)
    await eventually(lambda: reader.content == words(3))
    [found] = await _listed(operator)
    assert (found["state"], found["position"]) == ("running", None)
    shown = (await operator.get(f"/claw/queue/requests/{found['request_id']}")).json()
    assert (shown["state"], shown["tokens"], shown["model"]) == ("answering", 3, MODEL)
    assert "job" not in shown
    with_body = (await operator.get(f"/claw/queue/requests/{found['request_id']}", params={"body": "true"})).json()
    assert with_body["job"]["k"]["body"]["messages"] == chat()["messages"]
    [entry] = (await operator.get("/claw/admin/audit-log")).json()["entries"]
    assert (entry["operation"], entry["details"]["request_id"]) == ("show_request_body", found["request_id"])
    await operator.delete(f"/claw/queue/requests/{found['request_id']}")
    await reader.task
    assert reader.content == words(3)
    assert reader.error["code"] == "request_cancelled"
    await eventually(lambda: upstream.aborted == 1)
    [row] = await usage_rows(fleet, eventually, 1)
    assert (row["status"], row["error_code"]) == (499, "request_cancelled")
    assert (await operator.delete(f"/claw/queue/requests/{found['request_id']}")).status_code == 404


async def test_a_client_that_does_not_stream_gets_a_status_that_it_does_not_retry(
    operator: httpx.AsyncClient, client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """OpenAI's clients ask again after 408, 409, 429 and everything from 500."""
    upstream.hold_at = 0
    asked = asyncio.ensure_future(client.post("/v1/chat/completions", json=chat()))
    await eventually(lambda: upstream.held == 1)
    [found] = await _listed(operator, state="running")
    await operator.delete(f"/claw/queue/requests/{found['request_id']}")
    answer = await asked
    assert (answer.status_code, answer.json()["error"]["code"]) == (499, "request_cancelled")


async def test_cancelling_says_that_it_goes_on_where_the_requests_api_process_is_silent(
    api: Process, fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """202 by another api process; the request ends once that one goes on."""
    other = await fleet.api()
    await ready(other, eventually)
    upstream.hold_at = 3
    reader = Reader(client)
    await eventually(lambda: reader.content == words(3))
    async with httpx.AsyncClient(
        base_url=other.url, headers={"x-internal-token": INTERNAL_SECRET}, timeout=PATIENCE_S
    ) as operator:
        [found] = await _listed(operator)
        api.process.send_signal(signal.SIGSTOP)
        asked = await operator.delete(f"/claw/queue/requests/{found['request_id']}")
        api.process.send_signal(signal.SIGCONT)
    assert (asked.status_code, asked.json()) == (
        202,
        {"request_id": found["request_id"], "status": "cancelling", "cancelled": False},
    )
    await reader.task
    assert reader.error


@pytest.mark.parametrize("fleet_environment", [{"CLAW_DRAIN_S": "0.1"}])
async def test_a_drained_worker_ends_what_it_runs_and_then_itself(
    operator: httpx.AsyncClient, client: httpx.AsyncClient, upstream: NumberedUpstream, fleet: Fleet,
    eventually: Eventually,
) -> None:  # fmt: skip
    """However long that takes. A request that comes meanwhile is served by the other worker."""
    upstream.hold_at = 1
    reader = Reader(client)
    await eventually(lambda: upstream.held == 1)

    async def running() -> Any:
        [found] = (await operator.get("/claw/queue/workers")).json()["workers"]
        return found["running"] == 1 and found

    worker = await eventually(running)
    assert (worker["tier"], worker["state"], worker["slots"] > 0) == ("local", "working", True)
    assert (await operator.post(f"/claw/queue/workers/{worker['id']}/drain")).status_code == 200

    async def draining() -> bool:
        listed = (await operator.get("/claw/queue/workers")).json()["workers"]
        return [each["state"] for each in listed] == ["draining"]

    await eventually(draining)
    await fleet.worker()
    upstream.hold_at = None
    assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200
    upstream.resume.set()
    await reader.task
    assert reader.content == words(20)
    first = next(process for process in fleet.processes if process.name.startswith("local"))
    assert await first.process.wait() == 0


async def test_a_request_that_failed_over_twice_tells_its_story(
    operator: httpx.AsyncClient, client: httpx.AsyncClient, upstream: NumberedUpstream, fleet: Fleet,
    eventually: Eventually,
) -> None:  # fmt: skip
    """Each failure is there, with where it was and what the upstream said."""
    async with NumberedUpstream() as second, NumberedUpstream() as third:
        hosts = (upstream, second, third)
        for number, host in enumerate(hosts):
            host.failures = [500] * 5
            host.reason = f"CUDA out of memory on gpu {number}"
        for host in hosts[1:]:
            await fleet.worker(CLAW_LOCAL_OPENAI_URL=host.url)

        async def all_serve() -> bool:
            return len(await _backends(operator)) == len(hosts)

        await eventually(all_serve)
        answer = await client.post("/v1/chat/completions", json=chat())
    await usage_rows(fleet, eventually, 1)
    query = {"request_id": answer.headers["x-request-id"]}
    [row] = (await operator.get("/claw/v1/usage", params=query)).json()["usage"]
    failures = [event["detail"] for event in row["story"]]
    assert [event["what"] for event in row["story"]] == ["failed", "failed"]
    assert all(failure.startswith(f"attempt {number} at local:") for number, failure in enumerate(failures, 1))
    said = {failure.rpartition("gpu ")[2] for failure in (*failures, row["error_reason"])}
    assert said == {"0", "1", "2"}


async def test_what_waits_for_a_paused_backend_is_taken_over_by_its_sibling_which_was_full(
    fleet: Fleet, hosts: list[NumberedUpstream], eventually: Eventually
) -> None:
    """It was put there since the other queue had no room; the story says who has served it."""
    api = await fleet.api(CLAW_MAX_WAITING_JOBS="1")
    await fleet.recorder()
    await ready(api, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with (
        httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client,
        httpx.AsyncClient(base_url=api.url, headers={"x-internal-token": INTERNAL_SECRET}, timeout=60) as operator,
    ):

        async def all_there() -> list[str]:
            found = sorted(await _backends(operator))
            return found if len(found) == len(hosts) else []

        *paused, working = await eventually(all_there)
        for place in paused:
            await operator.post("/claw/queue/pause", json={"backend": place})
        readers = [Reader(client)]
        await eventually(lambda: sum(host.held for host in hosts) == 1)

        async def waiting(count: int) -> bool:
            found = await _backends(operator)
            return bool(sum(found[place]["waiting"] for place in found) == count)

        for count in (1, 2):
            readers.append(Reader(client))
            await eventually(partial(waiting, count))
        assert (await _backends(operator))[working]["waiting"] == 1
        for host in hosts:
            host.resume.set()
        await asyncio.gather(*(reader.task for reader in readers))
        rows = await usage_rows(fleet, eventually, len(readers))
        usage = (await operator.get("/claw/v1/usage")).json()["usage"]
    assert {row["status"] for row in rows} == {200}
    [story] = [entry["story"] for entry in usage if entry["story"]]
    assert [(event["what"], event["detail"]) for event in story] == [("taken_over", f"by {working} ({MODEL})")]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/claw/queue/requests?state=lost", 400),
        ("GET", "/claw/queue/requests?tier=cloud", 400),
        ("GET", "/claw/queue/requests?cursor=x", 400),
        ("GET", "/claw/queue/requests?cursor=waiting,-1,local:x", 400),
        ("GET", "/claw/queue/requests?limit=0", 400),
        ("GET", "/claw/queue/requests/nothing", 404),
        ("GET", "/claw/queue/requests/req_018f0000000070008000000000000000", 404),
        ("DELETE", "/claw/queue/requests/req_018f0000000070008000000000000000", 404),
        ("POST", "/claw/queue/workers/00/drain", 404),
    ],
)
async def test_what_is_not_there_or_not_meant_is_said(
    operator: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    """In the management API's form."""
    answer = await operator.request(method, path)
    assert answer.status_code == status
    assert isinstance(answer.json()["error"], str)


async def test_an_unknown_backend_is_not_paused(operator: httpx.AsyncClient) -> None:
    """A typing error would pause nothing, and say nothing."""
    answer = await operator.post("/claw/queue/pause", json={"backend": "local:nowhere"})
    assert (answer.status_code, "nself claw queue" in answer.json()["error"]) == (404, True)
