"""The same day as a router plans it that knows everything: every service time, every free moment, every quota."""

from __future__ import annotations

from collections import deque
from heapq import heapify, heapreplace
from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.simulator.served import Served
from bench.simulator.site import GEMINI, LOCAL_MODEL, PAID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.simulator.load import Request
    from bench.simulator.site import Site, Upstream
    from shared.models.catalogue import Quota

MINUTE_MS: Final = 60_000
_WAIT_SHARES: Final = (1.0, 0.5, 0.0)


class Rule(NamedTuple):
    """Options of a plan where there are several free ways.

    Args:
        wait_share: how much of the longest wait is spent at the local tier before a free project is taken.
        by_end: whether the host is taken that ends first, or else the one that begins first.
    """

    wait_share: float
    by_end: bool


RULES: Final = tuple(Rule(*choice) for choice in product(_WAIT_SHARES, (False, True)))


def best_plan(requests: Sequence[Request], site: Site, *, waits_for_quota: bool = True) -> list[Served]:
    """Return the cheapest plan that serves in the order of arrival and pays only where nothing free is left in time.

    Args:
        requests: the day.
        site: what serves it.
        waits_for_quota: whether a free project that is open again within the wait counts as free, as a host does.
    """
    plans = [plan(requests, site, rule, waits_for_quota=waits_for_quota) for rule in RULES]
    return min(plans, key=lambda served: sum(one.cost_nano_usd for one in served))


def plan(requests: Sequence[Request], site: Site, rule: Rule, *, waits_for_quota: bool = True) -> list[Served]:
    """Plan one day by a rule."""
    backends = [_LocalBackend(upstream) for upstream in site.hosts]
    quotas = [
        _Free(f"project-{number}", model, site.catalogue.quota(model))
        for number in range(site.projects)
        for model in site.catalogue.auto.gemini
    ]
    wait_ms = int(site.wait_s * 1000)
    quota_ms = wait_ms if waits_for_quota else 0
    served = []
    for request in requests:
        patience_ms = int(wait_ms * rule.wait_share)
        one = (
            _in_local_tier(request, backends, patience_ms, by_end=rule.by_end)
            or _for_free(request, quotas, quota_ms)
            # Before paying: the rest of the longest wait.
            or _in_local_tier(request, backends, wait_ms, by_end=rule.by_end)
        )
        if one is None:
            ends_ms = request.arrived_ms + PAID.service_ms(request)
            cost = site.cost_nano_usd(request)
            one = Served(request, "paid", PAID.queue, site.paid_model, "", request.arrived_ms, ends_ms, cost)
        served.append(one)
    return served


class _LocalBackend:
    """The times at which each slot of a host will be free."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.free_ms = [0] * upstream.slots
        # A heap: the first is the slot that is free soonest.
        heapify(self.free_ms)

    def begins_ms(self, request: Request) -> int:
        return max(request.arrived_ms, self.free_ms[0])


def _in_local_tier(request: Request, backends: Sequence[_LocalBackend], wait_ms: int, *, by_end: bool) -> Served | None:
    in_time = [backend for backend in backends if backend.begins_ms(request) <= request.arrived_ms + wait_ms]
    if not in_time:
        return None

    def ends_ms(backend: _LocalBackend) -> int:
        return backend.begins_ms(request) + backend.upstream.service_ms(request)

    chosen = min(in_time, key=ends_ms if by_end else lambda backend: (backend.begins_ms(request), ends_ms(backend)))
    began_ms, ended_ms = chosen.begins_ms(request), ends_ms(chosen)
    heapreplace(chosen.free_ms, ended_ms)
    return Served(request, "local", chosen.upstream.queue, LOCAL_MODEL, "", began_ms, ended_ms, 0)


class _Free:
    """The rest of a project's quota of a model."""

    def __init__(self, project: str, model: str, quota: Quota) -> None:
        self.project = project
        self.model = model
        self._quota = quota
        self._minute: deque[tuple[int, int]] = deque()
        self._tokens = 0
        self._today = 0

    def begins_ms(self, request: Request) -> int | None:
        """Return the first moment that its quotas allow; None where they never do today."""
        quota = self._quota
        if quota.requests_per_day is not None and self._today >= quota.requests_per_day:
            return None
        began_ms = request.arrived_ms
        self._forget(began_ms)
        if quota.requests_per_minute is not None and len(self._minute) >= quota.requests_per_minute:
            began_ms = max(began_ms, self._minute[-quota.requests_per_minute][0] + MINUTE_MS)
        if quota.prompt_tokens_per_minute is not None:
            too_many = self._tokens + request.prompt_tokens - quota.prompt_tokens_per_minute
            for used_ms, tokens in self._minute:
                if too_many <= 0:
                    break
                too_many -= tokens
                began_ms = max(began_ms, used_ms + MINUTE_MS)
            # The prompt alone is over the minute's quota.
            if too_many > 0:
                return None
        return began_ms

    def take(self, request: Request, began_ms: int) -> None:
        self._today += 1
        self._tokens += request.prompt_tokens
        self._minute.append((began_ms, request.prompt_tokens))

    def _forget(self, now_ms: int) -> None:
        while self._minute and self._minute[0][0] <= now_ms - MINUTE_MS:
            self._tokens -= self._minute.popleft()[1]


def _for_free(request: Request, quotas: Sequence[_Free], wait_ms: int) -> Served | None:
    options = [
        (began_ms, place) for place, free in enumerate(quotas) if (began_ms := free.begins_ms(request)) is not None
    ]
    if not options or min(options)[0] > request.arrived_ms + wait_ms:
        return None
    began_ms, place = min(options)
    free = quotas[place]
    free.take(request, began_ms)
    ended_ms = began_ms + GEMINI.service_ms(request)
    return Served(request, "gemini", GEMINI.queue, free.model, free.project, began_ms, ended_ms, 0)
