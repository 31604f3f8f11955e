"""Metrics of an api process: of its own work, and of what all share, of which each api says the same.

Imported only where `CLAW_METRICS_PORT` is set; served by a listener of its own, not by the api.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from api.endpoints.manage.gemini_usage import read_use
from shared.ids import admitted_ms
from shared.models.catalogue import NANO_USD, Quota
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.gemini_accounts import GeminiAccountStore, known_accounts
from shared.process.metrics.families import counter, gauge
from shared.process.metrics.process import ProcessMetrics
from shared.redis.names import USAGE_STREAM, budget_key_at, running_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.core import Metric

    from api.endpoints.health import Readiness
    from api.endpoints.manage.gemini_usage import ModelUse
    from api.gateway import Gateway
    from shared.postgres.gemini_accounts import StoredAccount
    from shared.settings import Settings
    from shared.types import BackendInfo

LOOKED_AT: Final = 64
"""Of the jobs of a queue, how many of the next are asked for their age."""
_QUEUE: Final = ("queue", "tier")


class ApiMetrics:
    """The metrics of an api process.

    Args:
        settings: where to listen.
    """

    def __init__(self, settings: Settings) -> None:
        self._state: Gateway | None = None
        self._process = ProcessMetrics(settings, self._is_served)
        self.finished = self._process.finished

    def start(self, state: Gateway, readiness: Readiness) -> None:
        """Begin to serve them."""
        self._state = state
        sources = (
            lambda: api_metrics(state, readiness),
            lambda: queue_metrics(state),
            lambda: stored_metrics(state),
            lambda: quota_metrics(state),
        )
        self._process.start(state.redis, "api", sources)

    async def stop(self) -> None:
        """Serve them no more."""
        await self._process.stop()

    def _is_served(self, model: str) -> bool:
        return self._state is not None and model in self._state.capacity.models()


async def api_metrics(state: Gateway, readiness: Readiness) -> list[Metric]:
    """Return what this api process does."""
    status, lacks = await readiness.check()
    moves = state.requests.moves
    return [
        gauge(
            "claw_ready",
            "Whether this api can serve: it is ready or degraded.",
            (),
            [((), status in {"ready", "degraded"})],
        ),
        gauge(
            "claw_part_up",
            "Whether a part is there.",
            ("part",),
            [((part,), why is None) for part, why in lacks.items()],
        ),
        gauge("claw_open_attempts", "Attempts that this api follows now.", (), [((), state.relay.open_attempts)]),
        counter(
            "claw_fail_overs", "Requests that went elsewhere after a failed attempt.", (), [((), moves.fail_overs)]
        ),
        counter(
            "claw_overflows", "Jobs that waited for too long and moved to another queue.", (), [((), moves.overflows)]
        ),
        counter(
            "claw_relay_gaps",
            "Gaps in what arrived of an attempt: frames asked for again.",
            (),
            [((), state.relay.gaps)],
        ),
    ]


async def queue_metrics(state: Gateway) -> list[Metric]:
    """Return what waits and runs at each live backend.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    backends = {backend.queue: backend for backend in state.capacity.backends()}
    workers = Counter(backend.queue for backend in state.capacity.backends())
    pipeline = state.redis.pipeline(transaction=False)
    for queue in backends:
        pipeline.zcard(queue)
        pipeline.zcard(running_key(queue))
        pipeline.zrange(queue, 0, LOOKED_AT - 1)
    replies = await pipeline.execute()
    now_ms = time.time() * 1000
    rows: list[tuple[tuple[str, ...], tuple[float, ...]]] = []
    for place, (queue, backend) in enumerate(backends.items()):
        waiting, running, next_ids = replies[3 * place : 3 * place + 3]
        oldest_s = max((max(0.0, now_ms - admitted_ms(job.decode())) / 1000 for job in next_ids), default=0.0)
        load = state.capacity.load(queue)
        values = (waiting, running, oldest_s, load.slots if load else 0, workers[queue])
        rows.append(((queue, backend.tier), values))
    what = (
        ("claw_queue_waiting", "Jobs that wait."),
        ("claw_queue_running", "Jobs that run."),
        ("claw_queue_oldest_seconds", f"How long ago the oldest of the next {LOOKED_AT} waiting jobs was admitted."),
        ("claw_queue_slots", "Slots of all live workers."),
        ("claw_queue_workers", "Live workers."),
    )
    return [
        *(
            gauge(name, text, _QUEUE, [(labels, values[column]) for labels, values in rows])
            for column, (name, text) in enumerate(what)
        ),
        gauge(
            "claw_model_closed_seconds",
            "For how long no account can serve a model: its breaker is open, or its quota is spent; model * is all.",
            (*_QUEUE, "model"),
            _closed(backends.values(), state, now_ms),
        ),
    ]


async def stored_metrics(state: Gateway) -> list[Metric]:
    """Return the month's budget, and what of the usage log is not recorded yet.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    pipeline = state.redis.pipeline(transaction=False)
    pipeline.xlen(USAGE_STREAM)
    pipeline.xrange(USAGE_STREAM, count=1)
    # An entry's id is of the clock of Redis, so its age is, too.
    pipeline.time()
    pipeline.hmget(budget_key_at(int(time.time() * 1000)), ["spent", "held"])
    waiting, oldest, (now_s, _), sums = await pipeline.execute()
    since_s = int(oldest[0][0].partition(b"-")[0]) / 1000 if oldest else now_s
    limit_usd = state.settings.monthly_budget_usd
    budget = [(("spent",), int(sums[0] or 0) / NANO_USD), (("held",), int(sums[1] or 0) / NANO_USD)]
    return [
        gauge("claw_usage_waiting", "Usage records that wait for a recorder.", (), [((), waiting)]),
        gauge("claw_usage_oldest_seconds", "How long the oldest of them waits.", (), [((), max(0.0, now_s - since_s))]),
        gauge(
            "claw_budget_usd",
            "The gateway's budget of this month of UTC, in US dollars: spent, held, and its limit where there is one.",
            ("part",),
            [*budget, *([] if limit_usd is None else [(("limit",), limit_usd)])],
        ),
    ]


async def quota_metrics(state: Gateway) -> list[Metric]:
    """Return what is left of the quotas of Gemini's accounts.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    known = await known_accounts(state.redis)
    if not known:
        return []
    own: dict[str, Quota] = {}
    # Without PostgreSQL the catalogue's limits are shown.
    with suppress(DatabaseUnavailable):
        own = {row.id: _quota(row) for row in await GeminiAccountStore(state.database).rows()}
    accounts = [(account, own.get(account.id, Quota())) for account in known.values()]
    uses = await read_use(state.redis, accounts, state.settings.catalogue)
    left = [
        ((account.account_email, model.model, quota), number)
        for (account, _), use in zip(accounts, uses, strict=True)
        for model in use.models
        for quota, number in _left(model)
    ]
    usable = [
        ((account.account_email,), use.state in {"ok", "untried", "recovering"})
        for (account, _), use in zip(accounts, uses, strict=True)
    ]
    return [
        gauge("claw_quota_left", "What is left of an account's quota of a model.", ("account", "model", "quota"), left),
        gauge("claw_account_up", "Whether an account can be used now.", ("account",), usable),
    ]


def _quota(row: StoredAccount) -> Quota:
    return Quota(
        requests_per_minute=row.requests_per_minute,
        prompt_tokens_per_minute=row.prompt_tokens_per_minute,
        requests_per_day=row.requests_per_day,
    )


def _left(use: ModelUse) -> Iterable[tuple[str, float]]:
    quotas = (
        ("requests_per_minute", use.requests_per_minute, use.requests_this_minute),
        ("prompt_tokens_per_minute", use.prompt_tokens_per_minute, use.prompt_tokens_this_minute),
        ("requests_per_day", use.requests_per_day, use.requests_today),
    )
    return [(name, max(0, limit - used)) for name, limit, used in quotas if limit is not None]


def _closed(backends: Iterable[BackendInfo], state: Gateway, now_ms: float) -> Iterable[tuple[tuple[str, ...], float]]:
    for backend in backends:
        load = state.capacity.load(backend.queue)
        for model, until_ms in (load.closed_ms if load else {}).items():
            if until_ms > now_ms:
                yield (backend.queue, backend.tier, model or "*"), (until_ms - now_ms) / 1000
