"""`python -m bench.simulator`: what `auto` pays for a day, and what a router would that knows the whole day before.

Three figures are compared:

- **auto**: the gateway's own routing, failover, scripts and quotas in simulated time (`day.py`). It does not
  know what will come, nor how long an answer will be.
- **all-knowing**: a router that keeps what `auto` promises, that who comes first is served first and that nothing is
  paid for while something free can begin it in time, but knows every service time, when each slot will be free and
  when each quota comes back (`plan.py`; the cheapest of several plans). It pays where knowledge cannot help.
- **lower bound**: what no router could pay less than, not even one that keeps the free places for the dear requests to
  come and knows the length of every answer before it is written (`bound.py`). Nobody can build that one.

Exits 1 if `auto` pays over 5 % more than the all-knowing router, or if a day served a request not exactly once or
used more than there was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from zoneinfo import ZoneInfo

from bench.report import Report, table
from bench.simulator.bound import LowerBound
from bench.simulator.check import faults_of
from bench.simulator.clock import Clock, ClockedRedis
from bench.simulator.day import Day, Simulator
from bench.simulator.load import Workload, requests_of
from bench.simulator.plan import best_plan
from bench.simulator.site import Site, host
from cli.up.embedded.valkey import EmbeddedValkey
from shared.models.catalogue import NANO_USD
from shared.redis import client as redis_client
from shared.redis.names import budget_key_at
from shared.types import TIERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from bench.simulator.load import Request
    from bench.simulator.served import Served

MOST_EXTRA: Final = 0.05
_BUDGET_USD: Final = 10_000.0
_PROGRESS: Final = "A day of {requests:,} requests from {programs} programs (seed {seed}), simulating ..."


@dataclass(frozen=True)
class Outcome:
    """The result of a day. Amounts are US dollars."""

    requests: list[Request]
    site: Site
    day: Day
    planned: list[Served]
    planned_at_once: list[Served]
    bound_usd: float
    faults: list[str]

    @property
    def paid_usd(self) -> float:
        """Return the US dollars that `auto` paid."""
        return _usd(self.day.served)

    @property
    def planned_usd(self) -> float:
        """Return the US dollars that the all-knowing router paid."""
        return _usd(self.planned)

    @property
    def is_within(self) -> bool:
        """Return whether `auto` paid at most 5 % more than the all-knowing router, and everything was possible."""
        return not self.faults and self.paid_usd <= (1 + MOST_EXTRA) * self.planned_usd


async def simulate(redis: Redis, load: Workload, site: Site) -> Outcome:
    """Serve a day by `auto`, plan it with all knowledge, and bound it.

    Args:
        redis: a client of an empty Redis; replies are bytes.
        load: what comes.
        site: what serves.
    """
    requests = requests_of(load)
    # Midnight in California, where Google's day begins.
    clock = Clock(int(datetime(2026, 11, 23, tzinfo=ZoneInfo("America/Los_Angeles")).timestamp() * 1000))
    clocked = cast("Redis", ClockedRedis(redis, clock))
    # The gateway leaves the order of equals to chance.
    random.seed(load.seed)
    with clock.in_charge():
        day = await Simulator(clocked, site, clock, budget_usd=_BUDGET_USD).run(requests)
    planned = best_plan(requests, site)
    planned_at_once = best_plan(requests, site, waits_for_quota=False)
    faults = [f"auto: request {request.number} was refused: {code}" for request, code in day.refused]
    faults += [f"auto: {fault}" for fault in faults_of(requests, day.served, site)]
    faults += [f"all-knowing: {fault}" for fault in faults_of(requests, planned, site)]
    faults += await _budget_faults(redis, clock, day)
    bound_usd = LowerBound(requests, site).usd()
    # Checks both programs against each other, but for the rounding of their sums.
    if bound_usd > _usd(planned) + 1e-9:
        faults.append("the lower bound is above what a plan pays: one of the two is wrong")
    return Outcome(requests, site, day, planned, planned_at_once, bound_usd, faults)


async def _budget_faults(redis: Redis, clock: Clock, day: Day) -> list[str]:
    """Yield the faults of the month's budget: it must match what was paid, with nothing reserved any more."""
    raw: dict[bytes, bytes] = await redis.hgetall(budget_key_at(clock.began_ms))  # type: ignore[misc]  # redis-py: or awaitable
    spent, held = int(raw.get(b"spent", 0)), int(raw.get(b"held", 0))
    paid = sum(one.cost_nano_usd for one in day.served)
    return [] if (spent, held) == (paid, 0) else [f"budget: {spent} spent and {held} held, {paid} paid"]


def report_of(outcome: Outcome) -> Report:
    """Return the report of a simulated day."""
    report = Report("Routing: what auto pays for a day")
    rows = [
        _row("auto", outcome, outcome.day.served),
        _row("all-knowing, in order of arrival", outcome, outcome.planned),
        _row("the same, not waiting for quotas", outcome, outcome.planned_at_once),
    ]
    report.lines = table(("", *TIERS, "paid USD", "wait p50", "p99", "longest", "too long"), rows)
    all_usd = sum(map(outcome.site.cost_nano_usd, outcome.requests)) / NANO_USD
    more = _compared(outcome.paid_usd, outcome.planned_usd)
    day = outcome.day
    report.lines.append(f"auto pays {more} the all-knowing router; {MOST_EXTRA:.0%} more is allowed.")
    report.lines.append(
        f"No router pays less than {outcome.bound_usd:.4f} USD, even one that keeps what is free for the dear requests "
        "to come (a lower bound)."
    )
    report.lines.append(
        f"Had all been paid for: {all_usd:.4f} USD. {day.moved} jobs moved on after they had waited, "
        f"{day.failed_over} failed over, {len(day.refused)} were refused."
    )
    report.failures = outcome.faults
    report.raw = {
        "auto": _figures(outcome.day.served, outcome.site),
        "all_knowing": _figures(outcome.planned, outcome.site),
        "all_knowing_not_waiting_for_quotas": _figures(outcome.planned_at_once, outcome.site),
        "lower_bound_usd": outcome.bound_usd,
        "all_paid_usd": all_usd,
        "within": outcome.is_within,
        "faults": outcome.faults,
    }
    return report


def _usd(served: Sequence[Served]) -> float:
    return sum(one.cost_nano_usd for one in served) / NANO_USD


def _compared(paid_usd: float, least_usd: float) -> str:
    if paid_usd == least_usd:
        return "as much as"
    if not least_usd:
        return f"{paid_usd:.4f} USD more than"
    share = paid_usd / least_usd - 1
    return f"{abs(share):.1%} {'more' if share > 0 else 'less'} than"


def _figures(served: Sequence[Served], site: Site) -> dict[str, Any]:
    waits_ms = sorted(one.began_ms - one.request.arrived_ms for one in served) or [0]
    return {
        "requests": dict(Counter(one.tier for one in served)),
        "paid_usd": _usd(served),
        "wait_p50_s": waits_ms[len(waits_ms) // 2] / 1000,
        "wait_p99_s": waits_ms[len(waits_ms) * 99 // 100] / 1000,
        "wait_longest_s": waits_ms[-1] / 1000,
        "waited_too_long": sum(wait_ms > site.wait_s * 1000 for wait_ms in waits_ms),
    }


def _row(name: str, outcome: Outcome, served: Sequence[Served]) -> tuple[str, ...]:
    figures = _figures(served, outcome.site)
    shares = (f"{figures['requests'].get(tier, 0) / max(1, len(outcome.requests)):.1%}" for tier in TIERS)
    waits = (f"{figures[wait]:.1f} s" for wait in ("wait_p50_s", "wait_p99_s", "wait_longest_s"))
    return (name, *shares, f"{figures['paid_usd']:.4f}", *waits, str(figures["waited_too_long"]))


async def simulate_alone(load: Workload, site: Site) -> Outcome:
    """Run `simulate` in a Valkey of its own."""
    with tempfile.TemporaryDirectory(prefix="claw-bench-") as folder:
        async with EmbeddedValkey(Path(folder)) as url:
            redis = redis_client.connect(url)
            try:
                # Nothing has to outlive the day, and a disk that is slow is none of its concern.
                await redis.config_set("appendonly", "no")
                return await simulate(redis, load, site)
            finally:
                await redis_client.close(redis)


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate the day that is asked for; return the exit code."""
    options = _parser().parse_args(arguments)
    given = {name: value for name, value in vars(options).items() if name in Workload.__dataclass_fields__}
    load = Workload(**given)
    hosts = tuple(host(number + 1, options.slots, speed) for number, speed in enumerate(options.host_speeds))
    site = Site(hosts=hosts, projects=options.projects, wait_s=options.wait_s)
    print(_PROGRESS.format(**asdict(load)), file=sys.stderr, flush=True)
    outcome = asyncio.run(simulate_alone(load, site))
    report = report_of(outcome)
    if options.json:
        print(json.dumps({"load": asdict(load), "site": _described(site), **report.raw}, indent=1))
    else:
        print(report.text())
    return 0 if outcome.is_within else 1


def _described(site: Site) -> dict[str, Any]:
    hosts = [{"slots": upstream.slots, "tokens_per_s": upstream.output_per_s} for upstream in site.hosts]
    return {"hosts": hosts, "projects": site.projects, "wait_s": site.wait_s}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.simulator", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual, site = Workload(), Site()
    for name, value in asdict(usual).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"default {value}")
    speeds = [upstream.output_per_s for upstream in site.hosts]
    parser.add_argument("--host-speeds", type=float, nargs="+", default=speeds, help="tokens a second of a slot")
    parser.add_argument("--slots", type=int, default=site.hosts[0].slots, help="of each host")
    parser.add_argument("--projects", type=int, default=site.projects, help="free Gemini projects")
    parser.add_argument("--wait-s", type=float, default=site.wait_s, help="as CLAW_LOCAL_MAX_WAIT_S")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    return parser
