"""A small day of the routing simulator, on a real Valkey: the gateway's own decisions, in simulated time."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from bench.simulator.clock import Clock, ClockedRedis
from bench.simulator.load import Workload
from bench.simulator.simulate import MOST_EXTRA, Outcome, report_of, simulate, simulate_alone
from bench.simulator.site import Site, host
from shared.redis import scripts

if TYPE_CHECKING:
    from redis.asyncio import Redis

LOAD = Workload(seed=2, requests=800, programs=5, bursts=2, burst_share=0.95, burst_s=300)
SITE = Site(hosts=(host(1, 2, 15), host(2, 2, 30)), projects=1)


@pytest.fixture
async def outcome(redis: Redis) -> Outcome:
    """Return what came of the day."""
    return await simulate(redis, LOAD, SITE)


async def test_auto_pays_little_more_than_a_router_that_knows_the_day(outcome: Outcome) -> None:
    """At most 5 % more, every tier used, and no less than any router must pay."""
    assert outcome.bound_usd <= outcome.planned_usd
    assert outcome.bound_usd <= outcome.paid_usd <= (1 + MOST_EXTRA) * outcome.planned_usd
    assert {one.tier for one in outcome.day.served} == {"local", "gemini", "paid"}
    assert outcome.is_within


async def test_each_request_is_served_once_within_what_there_is(outcome: Outcome) -> None:
    """Nobody is refused or lost; slots, quotas and the budget are kept; the report says so."""
    assert not outcome.faults
    assert not outcome.day.refused
    assert sorted(one.request.number for one in outcome.day.served) == list(range(LOAD.requests))
    report = report_of(outcome)
    assert not report.failures
    assert sum(report.raw["auto"]["requests"].values()) == LOAD.requests


async def test_a_days_outcome_is_the_same_for_the_same_seed(outcome: Outcome) -> None:
    """On another server too, so that a change of the routing shows."""
    again = await simulate_alone(LOAD, SITE)
    assert again.day.served == outcome.day.served


async def test_scripts_that_the_server_knows_go_by_the_simulated_time(redis: Redis) -> None:
    """Also where others ran them before, by the real time."""
    script = "return redis.call('TIME')"
    clocked = cast("Redis", ClockedRedis(redis, Clock(1_000_000)))
    assert int((await scripts.run(redis, script, []))[0]) > 1_000
    assert await scripts.run(clocked, script, []) == [b"1000", b"0"]
