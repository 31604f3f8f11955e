"""A check that a served day was possible: each request once, no slot and no quota used beyond what there is."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import groupby
from typing import TYPE_CHECKING

from bench.simulator.plan import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.simulator.load import Request
    from bench.simulator.served import Served
    from bench.simulator.site import Site, Upstream
    from shared.models.catalogue import Quota

_DAY_MS = 86_400_000


def faults_of(requests: Sequence[Request], served: Sequence[Served], site: Site) -> list[str]:
    """Describe what is impossible about a day; nothing where it was possible. Days of quotas begin with the day."""
    faults = list(_not_once(requests, served))
    by_queue: dict[str, list[Served]] = defaultdict(list)
    by_quota: dict[tuple[str, str], list[Served]] = defaultdict(list)
    for one in served:
        by_queue[one.queue].append(one)
        if one.project:
            by_quota[one.project, one.model].append(one)
    for upstream in site.upstreams:
        faults += _crowded(upstream, by_queue[upstream.queue])
    for (project, model), uses in by_quota.items():
        faults += (f"{project}, {model}: {fault}" for fault in _overused(uses, site.catalogue.quota(model)))
    return faults


def _not_once(requests: Sequence[Request], served: Sequence[Served]) -> Iterator[str]:
    times = Counter(one.request.number for one in served)
    for request in requests:
        if times[request.number] != 1:
            yield f"request {request.number} was served {times[request.number]} times"
    for one in served:
        if not one.request.arrived_ms <= one.began_ms < one.ended_ms:
            yield f"request {one.request.number} began before it came, or ended before it began"


def _crowded(upstream: Upstream, served: Iterable[Served]) -> Iterator[str]:
    """Yield a fault where more run at once than there are slots. At a moment, what ends goes before what begins."""
    # -1 sorts before 1.
    steps = sorted(step for one in served for step in ((one.began_ms, 1), (one.ended_ms, -1)))
    running = most = 0
    for _, change in steps:
        running += change
        most = max(most, running)
    if most > upstream.slots:
        yield f"{upstream.queue}: {most} at once in {upstream.slots} slots"


def _overused(uses: Sequence[Served], quota: Quota) -> Iterator[str]:
    uses = sorted(uses, key=lambda one: one.began_ms)
    for _, of_day in groupby(uses, key=lambda one: one.began_ms // _DAY_MS):
        count = sum(1 for _ in of_day)
        # No limit: the count is never greater than itself.
        if count > (quota.requests_per_day or count):
            yield f"{count} requests in a day"
    first = tokens = 0
    for place, one in enumerate(uses):
        tokens += one.request.prompt_tokens
        while uses[first].began_ms <= one.began_ms - MINUTE_MS:
            tokens -= uses[first].request.prompt_tokens
            first += 1
        count = place - first + 1
        if count > (quota.requests_per_minute or count):
            yield f"{count} requests in a minute"
        if tokens > (quota.prompt_tokens_per_minute or tokens):
            yield f"{tokens} prompt tokens in a minute"
