"""Metrics of a fleet in use: the sums over all processes are those of the usage log; what is shared, each api says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.up.ports import free_port
from tests.fleet import PATIENCE_S, Fleet, Process, chat, ready
from tests.streams import Reader, usage_rows
from tests.upstreams.numbered import MODEL, NumberedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually

Samples = dict[str, list[tuple[dict[str, str], float]]]


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return a budget, so that its limit is there, and few slots."""
    return {"PLUGIN_AI_MONTHLY_BUDGET_USD": "10", "CLAW_LOCAL_OPENAI_SLOTS": "2"}


class Measured:
    """A fleet of an api, two workers and a recorder, with metrics; their ports in this order."""

    def __init__(self, client: httpx.AsyncClient, ports: list[int], worker: Process) -> None:
        self.client = client
        self.ports = ports
        self.worker = worker

    async def samples(self, port: int) -> Samples:
        """Return what a process says, by name."""
        found: Samples = {}
        for family in text_string_to_metric_families((await self._get(port, "/metrics")).text):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    async def sum(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over all processes."""
        total = 0.0
        for port in self.ports:
            found = (await self.samples(port)).get(name, [])
            total += sum(value for known, value in found if labels.items() <= known.items())
        return total

    async def targets(self) -> list[tuple[str, str]]:
        """Return role and address of each process that is announced."""
        listed = (await self._get(self.ports[0], "/metrics/targets")).json()
        return sorted((entry["labels"]["role"], entry["targets"][0]) for entry in listed)

    async def _get(self, port: int, path: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
            return await client.get(f"http://127.0.0.1:{port}{path}")


@pytest.fixture
async def measured(fleet: Fleet, eventually: Eventually) -> AsyncIterator[Measured]:
    """Yield the fleet, ready."""
    ports = [free_port() for _ in range(4)]
    api = await fleet.api(CLAW_METRICS_PORT=str(ports[0]))
    worker = await fleet.worker(CLAW_METRICS_PORT=str(ports[1]))
    await fleet.worker(CLAW_METRICS_PORT=str(ports[2]))
    fleet.start("recorder", ["workers", "recorder"], 0, {"CLAW_METRICS_PORT": str(ports[3])})
    await ready(api, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as client:
        made = Measured(client, ports, worker)

        async def all_are_there() -> bool:
            workers = (await made.samples(ports[0])).get("claw_queue_workers", [])
            return len(await made.targets()) == len(ports) and [count for _, count in workers] == [2]

        # The api is ready with one worker, whose slots would be taken for all.
        await eventually(all_are_there)
        yield made


async def test_the_sums_over_all_processes_are_those_of_the_usage_log(
    fleet: Fleet, measured: Measured, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Served, streamed, refused, for a model that is none, failed: each counts once, in one process."""
    for number in range(6):
        await measured.client.post("/v1/chat/completions", json=chat(stream=bool(number % 2)))
    for number in range(3):
        await measured.client.post("/v1/chat/completions", json=chat(model=f"invented-{number}"))
    upstream.failures = [500]
    await measured.client.post("/v1/chat/completions", json=chat())
    rows = await usage_rows(fleet, eventually, 10)

    async def has_all() -> bool:
        return await measured.sum("claw_requests_total") >= len(rows)

    await eventually(has_all)
    for status in (200, 404, 502):
        expected = sum(row["status"] == status for row in rows)
        assert await measured.sum("claw_requests_total", endpoint="chat", status=str(status)) == expected > 0
    for kind in ("prompt", "completion"):
        tokens = sum(row[f"{kind}_tokens"] for row in rows)
        assert await measured.sum("claw_tokens_total", kind=kind, model=MODEL) == tokens > 0
    first = sum(row["first_token_ms"] or 0 for row in rows)
    assert round(await measured.sum("claw_request_first_token_seconds_sum") * 1000) == first
    assert await measured.sum("claw_request_token_gap_seconds_count") == 3
    assert await measured.sum("claw_attempts_total") == 7
    assert await measured.sum("claw_attempts_failed_total") == 1
    # A name of a client is no series.
    assert await measured.sum("claw_requests_total", model="other", status="404") == 3


async def test_a_waiting_queue_is_seen_and_left(
    measured: Measured, upstream: NumberedUpstream, eventually: Eventually, fleet: Fleet
) -> None:
    """How many wait, how long, how many run, on how many slots of how many workers."""
    upstream.hold_at = 3
    slots = (await measured.samples(measured.ports[0]))["claw_queue_slots"][0][1]
    held = [Reader(measured.client) for _ in range(int(slots) + 3)]

    async def waits() -> Samples:
        # All three: while they come, three may wait that will run, or be open that do not wait yet.
        found = await measured.samples(measured.ports[0])
        names = ("claw_queue_waiting", "claw_queue_running", "claw_open_attempts")
        return found if [found[name][0][1] for name in names] == [3, slots, len(held)] else {}

    first = await eventually(waits)
    assert first["claw_queue_workers"][0][1] == 2
    later = await measured.samples(measured.ports[0])
    assert later["claw_queue_oldest_seconds"][0][1] > first["claw_queue_oldest_seconds"][0][1] > 0
    upstream.resume.set()
    for reader in held:
        await reader.task
    await usage_rows(fleet, eventually, len(held))
    assert await measured.sum("claw_queue_waiting") == 0
    assert await measured.sum("claw_queue_oldest_seconds") == 0


async def test_every_process_is_announced_until_it_ends(
    fleet: Fleet, measured: Measured, eventually: Eventually
) -> None:
    """With its role, at the address where it answers."""
    api, first, second, recorder = (f"127.0.0.1:{port}" for port in measured.ports)
    expected = sorted([("api", api), ("local", first), ("local", second), ("recorder", recorder)])

    async def all_are_there() -> bool:
        return await measured.targets() == expected

    await eventually(all_are_there)
    measured.worker.terminate()
    assert await measured.worker.process.wait() == 0
    assert await measured.targets() == [target for target in expected if target[1] != first]
    # One that was killed is listed still: Prometheus finds that it is down.
    fleet.processes[-1].kill()
    assert await measured.targets() == [target for target in expected if target[1] != first]


async def test_what_is_shared_is_there(measured: Measured) -> None:
    """Readiness, parts, budget, usage on its way; and of each process its own basics."""
    api = await measured.samples(measured.ports[0])
    assert api["claw_ready"] == [({}, 1)]
    assert {labels["part"]: value for labels, value in api["claw_part_up"]} == {"redis": 1, "postgres": 1, "models": 1}
    assert ({"part": "limit"}, 10) in api["claw_budget_usd"]
    assert {"claw_usage_waiting", "claw_usage_oldest_seconds"} <= api.keys()
    for port in measured.ports:
        process = await measured.samples(port)
        assert process["process_resident_memory_bytes"][0][1] > 0
        assert process["claw_event_loop_lag_seconds_count"][0][1] >= 0
