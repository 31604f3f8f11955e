"""Budgets under any order of admissions, further attempts and ends, many at once: never exceeded, all settled."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.admission.admit import admit
from api.admission.auth import Principal
from shared.errors import BudgetSpent, GatewayError
from shared.ids import job_id
from shared.models.catalogue import NANO_USD, nano_usd
from shared.queue.placement import BudgetLimits, PlacementOptions, enqueue
from shared.redis.client import close, connect
from shared.redis.names import budget_key_at, revoked_key
from shared.usage import Closing, ClosingMode, UsageRecord, finish_now
from tests.integration.shared.queue.sample_jobs import API, KEY, at, draft, put

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from shared.types import JobDraft

MONTH_MS = 32 * 86_400_000
KEYS = (KEY, "7e57ab1e-0000-4000-8000-000000000002")
LIMITS = BudgetLimits(all_nano_usd=1000, key_nano_usd=700)
OPTIONS = PlacementOptions(limits=LIMITS, most_waiting=1000)
months = count(1)


class Step(NamedTuple):
    """What one request does: costs of its attempts at the most and in fact, and how often its end is told."""

    key: str
    attempts: list[tuple[int, float]]
    is_local_at_last: bool
    endings: int


steps = st.builds(
    Step,
    st.sampled_from(KEYS),
    st.lists(st.tuples(st.integers(0, 1100), st.floats(0, 1)), min_size=1, max_size=3),
    st.booleans(),
    st.integers(1, 3),
)


class Budget:
    """The month's budget of one example."""

    def __init__(self, redis: Redis, month: int) -> None:
        self._redis = redis
        self.admitted_ms = month * MONTH_MS
        self.spent = 0

    async def sums(self) -> dict[str, int]:
        """Return its fields."""
        raw: dict[bytes, bytes] = await self._redis.hgetall(budget_key_at(self.admitted_ms))  # type: ignore[misc]  # redis-py: or awaitable
        return {name.decode(): int(value or 0) for name, value in raw.items()}

    async def check(self, request: JobDraft, reserved: int | None) -> None:
        """Check that nothing is negative, and what is spent and reserved is never more than the budget."""
        found = await self.sums()
        assert all(value >= 0 for value in found.values())
        assert found.get("held", 0) == sum(value for name, value in found.items() if name.startswith("r:"))
        assert found.get(f"r:{request.request_id}") == (reserved or None)
        assert found.get("spent", 0) + found.get("held", 0) <= 1000
        for key in KEYS:
            assert found.get(f"spent:{key}", 0) + found.get(f"held:{key}", 0) <= 700

    async def live(self, step: Step) -> None:
        """Live one request, from its admission to its end."""
        request = draft(step.key, admitted_ms=self.admitted_ms)
        (most, share), *later = step.attempts
        try:
            await put(self._redis, at("paid", "paid", cost_nano_usd=most), request=request, limits=LIMITS)
        except BudgetSpent:
            return
        await self.check(request, most)
        used = int(most * share)
        for number, (most, share) in enumerate(later, start=2):
            request = msgspec.structs.replace(request.after(used / NANO_USD), attempt=number)
            is_last = step.is_local_at_last and number > len(later)
            target = at("local") if is_last else at("paid", "paid", cost_nano_usd=most)
            used = 0
            if await enqueue(self._redis, request, [target], options=OPTIONS) == -1:
                break
            await self.check(request, (0 if is_last else most) + nano_usd(request.earlier_cost_usd))
            used = 0 if is_last else int(most * share)
        await self._end(request, used, step.endings)

    async def _end(self, request: JobDraft, used: int, endings: int) -> None:
        record = msgspec.structs.replace(
            UsageRecord.opened(request), tier="paid", cost_usd=request.earlier_cost_usd + used / NANO_USD
        )
        name = job_id(request.request_id, request.attempt)
        closing = Closing.of(record, ClosingMode.OPEN, api_id=API, job_id=name, queue="paid")
        counted = [await finish_now(self._redis, closing) for _ in range(endings)]
        assert counted == [True] + [False] * (endings - 1)
        self.spent += closing.cost_nano_usd
        await self.check(request, None)


async def run(url: str, requests: list[Step]) -> None:
    """Run all of them at once."""
    redis: Any = connect(url)
    budget = Budget(redis, next(months))
    try:
        await redis.set(f"claw:since:{API}", 0)
        await asyncio.gather(*map(budget.live, requests))
        found = await budget.sums()
        assert found.get("spent", 0) == sum(found.get(f"spent:{key}", 0) for key in KEYS) == budget.spent
        assert {name: value for name, value in found.items() if name.startswith(("held", "r:")) and value} == {}
    finally:
        await redis.delete(budget_key_at(budget.admitted_ms), "paid", "local")
        await close(redis)


@given(requests=st.lists(steps, min_size=1, max_size=8))
def test_budgets_hold_whatever_requests_do_at_once(valkey_url: str, requests: list[Step]) -> None:
    """Attempts that are lost and made again, at paid and free places, and ends that are told several times."""
    asyncio.run(run(valkey_url, requests))


SPENT = BudgetLimits(all_nano_usd=1)
PRINCIPAL = Principal(KEY, 1, admin_allowed=False)


async def _revoked(redis: Redis, _: JobDraft) -> None:
    await redis.set(revoked_key(KEY), "1", px=60_000)


async def _used_up(redis: Redis, request: JobDraft) -> None:
    other = msgspec.structs.replace(draft(), admitted_ms=request.admitted_ms)
    await admit(redis, PRINCIPAL, other, candidates=[at("local")], options=OPTIONS)


async def _full(redis: Redis, _: JobDraft) -> None:
    await put(redis, at("local"))


async def _nothing(redis: Redis, _: JobDraft) -> None:
    assert await redis.dbsize() == 0


@pytest.mark.parametrize(
    ("before", "fields", "options"),
    [
        pytest.param(_revoked, {}, {}, id="its key is revoked"),
        pytest.param(_used_up, {}, {}, id="of its minute nothing is left"),
        pytest.param(_nothing, {"tokens_per_minute": 10, "reserved_tokens": 11}, {}, id="tokens"),
        pytest.param(_full, {}, {"most_waiting": 1}, id="the queue is full"),
        pytest.param(_nothing, {}, {"limits": SPENT}, id="it costs more than is left"),
    ],
)
async def test_what_is_denied_leaves_everything_as_it_was(
    redis: Redis, before: Callable[[Redis, JobDraft], Awaitable[None]], fields: dict[str, Any], options: dict[str, Any]
) -> None:
    """Neither of the key's requests and tokens nor of a budget is anything consumed, and nothing is open."""
    request = draft(**fields)
    await before(redis, request)

    async def everything() -> dict[bytes, bytes | None]:
        return {name: await redis.dump(name) for name in await redis.keys()}

    found = await everything()
    wanted = PlacementOptions(**({"most_waiting": 1000} | options))
    place = at("paid", "paid", cost_nano_usd=2) if "limits" in options else at("local")
    with pytest.raises(GatewayError):
        await admit(redis, PRINCIPAL, request, candidates=[place], options=wanted)
    assert await everything() == found
