"""Processes die during paid calls: what was reserved is settled, once, and nothing is paid for twice."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shared.models.catalogue import default_catalogue, nano_usd
from shared.models.tokenizers import count_tokens
from shared.types import Usage
from tests.clock import day_lasts
from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, Process, ready
from tests.streams import Reader, usage_rows
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually

TOKEN = {"x-internal-token": INTERNAL_SECRET}


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return settings by which a dead api is soon judged so: Redis is never away for long here."""
    return {"CLAW_REDIS_OUTAGE_S": "2"}


@pytest.fixture(autouse=True)
async def _one_month() -> None:
    """Let a test begin and end in the same month: what was spent is told by that."""
    await day_lasts()


@pytest.fixture
async def api(fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually) -> Process:
    """Return a gateway with a budget, a paid worker and no local one."""
    upstream.models = ["gpt-4.1"]
    started = await fleet.api(PLUGIN_AI_MONTHLY_BUDGET_USD="1")
    await paid_worker(fleet, upstream)
    await fleet.recorder()
    await ready(started, eventually)
    return started


@pytest.fixture
async def client(fleet: Fleet, api: Process) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client with a key."""
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as opened:
        yield opened


async def paid_worker(fleet: Fleet, upstream: NumberedUpstream) -> Process:
    """Return a worker of the paid tier."""
    return await fleet.worker("paid", OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=upstream.url)


async def another_paid_worker(fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually) -> None:
    """Start one more, that serves already."""
    process = await paid_worker(fleet, upstream)
    await eventually(lambda: "serving" in process.log.read_text())


async def budget(url: str) -> dict[str, Any]:
    """Return the month's budget, as the operator sees it."""
    async with httpx.AsyncClient(base_url=url, headers=TOKEN, timeout=PATIENCE_S) as asking:
        shown: dict[str, Any] = (await asking.get("/claw/v1/budget")).json()
        return shown


def paid(fleet: Fleet) -> Process:
    """Return the first paid worker."""
    return next(process for process in fleet.processes if process.name.startswith("paid"))


async def test_a_killed_workers_answer_is_paid_for_as_far_as_it_came(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, api: Process, eventually: Eventually
) -> None:
    """By the estimate in the usage log; nothing stays reserved, and no second call is made."""
    upstream.hold_at = 7
    reader = Reader(client, model="gpt-4.1", max_tokens=100)
    await eventually(lambda: reader.content == words(7))
    assert (await budget(api.url))["held_usd"] > 0
    await another_paid_worker(fleet, upstream, eventually)
    paid(fleet).kill()
    await reader.task
    assert reader.error["code"] == "worker_lost"
    (row,) = await usage_rows(fleet, eventually, 1)
    cost = default_catalogue().cost_usd("gpt-4.1", Usage(row["prompt_tokens"], 7))
    assert float(row["cost_usd"]) == pytest.approx(cost)

    async def settled() -> bool:
        now = await budget(api.url)
        return bool(now["held_usd"] == 0 and nano_usd(now["spent_usd"]) == nano_usd(cost))

    await eventually(settled)
    assert len(upstream.requests) == 1


async def test_a_paid_attempt_that_is_made_again_is_reserved_once_and_paid_for_twice(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, api: Process, eventually: Eventually
) -> None:
    """Its worker died before the first word, and its upstream had the prompt by then: that is billed."""
    upstream.hold_at = 0
    reader = Reader(client, model="gpt-4.1", max_tokens=100)
    await eventually(lambda: upstream.held == 1)
    held = (await budget(api.url))["held_usd"]
    await another_paid_worker(fleet, upstream, eventually)
    paid(fleet).kill()
    await eventually(lambda: len(upstream.requests) == 2)
    lost = default_catalogue().cost_usd("gpt-4.1", Usage(1, 0))
    assert nano_usd((await budget(api.url))["held_usd"]) == nano_usd(held + lost) > 0
    upstream.resume.set()
    await reader.task
    (row,) = await usage_rows(fleet, eventually, 1)
    assert (row["status"], row["attempts"]) == (200, 2)
    answer = default_catalogue().cost_usd("gpt-4.1", Usage(row["prompt_tokens"], row["completion_tokens"]))
    assert nano_usd(float(row["cost_usd"])) == nano_usd(lost + answer)

    async def settled() -> bool:
        now = await budget(api.url)
        return bool(now["held_usd"] == 0 and nano_usd(now["spent_usd"]) == nano_usd(float(row["cost_usd"])))

    await eventually(settled)


async def test_what_a_dead_api_had_reserved_is_given_back(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, api: Process, eventually: Eventually
) -> None:
    """Its worker cancels the call and closes the request with what it had made; another api shows it."""
    upstream.hold_at = 7
    reader = Reader(client, model="gpt-4.1", max_tokens=100)
    await eventually(lambda: reader.content == words(7))
    other = await fleet.api()
    await ready(other, eventually)
    api.kill()
    with pytest.raises(httpx.TransportError):
        await reader.task

    async def settled() -> bool:
        now = await budget(other.url)
        return bool(now["held_usd"] == 0 and now["spent_usd"] > 0)

    await eventually(settled)
    (row,) = await usage_rows(fleet, eventually, 1)
    tokens = count_tokens([words(7)], "gpt-4.1")
    assert (row["status"], row["error_code"], row["completion_tokens"]) == (499, "orphaned", tokens)
    assert upstream.aborted == 1


async def test_a_worker_that_was_frozen_does_not_end_what_another_one_serves(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, api: Process, eventually: Eventually
) -> None:
    """It was taken for dead, and is told to stop when it wakes: log and budget know the answer that was given."""
    upstream.hold_at = 0
    reader = Reader(client, model="gpt-4.1", max_tokens=100)
    await eventually(lambda: upstream.held == 1)
    held = (await budget(api.url))["held_usd"]
    frozen = paid(fleet)
    await another_paid_worker(fleet, upstream, eventually)
    frozen.process.send_signal(signal.SIGSTOP)
    await eventually(lambda: upstream.held == 2)
    frozen.process.send_signal(signal.SIGCONT)
    await eventually(lambda: upstream.aborted == 1)
    # It has said all it had to say when it has ended.
    frozen.terminate()
    await frozen.process.wait()
    lost = default_catalogue().cost_usd("gpt-4.1", Usage(1, 0))
    assert nano_usd((await budget(api.url))["held_usd"]) == nano_usd(held + lost)
    upstream.resume.set()
    await reader.task
    assert reader.content == words(40)
    (row,) = await usage_rows(fleet, eventually, 1)
    assert (row["status"], row["attempts"], row["completion_tokens"]) == (200, 2, 40)
    assert row["cost_usd"] > 0
