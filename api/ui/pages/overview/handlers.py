"""The overview page."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from quart import Response, current_app, request

from api.endpoints.health import READINESS, Readiness
from api.endpoints.queue.backends import BackendState, backend_states
from api.gateway import gateway
from api.ui.navigation import OVERVIEW
from api.ui.pages.overview import charts, health
from api.ui.pages.overview.figures import Figures, read_figures
from api.ui.pages.overview.recent import Recent
from api.ui.pages.overview.spans import SPANS, span_named
from api.ui.render import render
from shared.postgres.database import DatabaseUnavailable
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.accounting.budget import BudgetState
    from api.ui.pages.overview.health import Health
    from api.ui.pages.overview.spans import Span

EXTENSION = "claw.ui.overview"


async def show_overview() -> Response:
    """Show the overview of a span of time."""
    span = span_named(request.args.get("span"))
    figures = await _figures(span)
    backends = await _backends()
    budget = await _budget()
    return await render(
        "overview/overview.html",
        OVERVIEW,
        span=span,
        spans=SPANS,
        health=await _health(figures, backends, budget),
        figures=figures,
        charts=charts,
        budget=budget,
        slow_backends=_slowest(backends or ()),
        waiting=sum(each.waiting for each in backends or ()),
        running=sum(each.running for each in backends or ()),
    )


async def _figures(span: Span) -> Figures | None:
    """Return what the usage log says; None where that cannot be read now."""
    kept: dict[str, Recent[Figures]] = current_app.extensions.setdefault(EXTENSION, {})
    # A longer span costs more to read, and changes more slowly.
    recent = kept.setdefault(span.name, Recent(min(60.0, span.step.total_seconds() / 30)))
    state = gateway()
    try:
        return await recent.get(lambda: read_figures(state.database, state.settings, span))
    except DatabaseUnavailable:
        return None


async def _backends() -> list[BackendState] | None:
    state = gateway()
    try:
        return await backend_states(state.redis, state.capacity, state.arrivals)
    except UNREACHABLE:
        return None


def _slowest(backends: Iterable[BackendState]) -> list[BackendState]:
    """Return the backends that have served something in the last minute, the slowest first."""
    return sorted((each for each in backends if each.out_per_minute), key=lambda each: -each.service_s)


async def _budget() -> BudgetState | None:
    try:
        return await gateway().budget.state()
    except (DatabaseUnavailable, *UNREACHABLE):
        return None


async def _health(figures: Figures | None, backends: list[BackendState] | None, budget: BudgetState | None) -> Health:
    readiness = cast("Readiness", current_app.extensions[READINESS])
    status, lacks = await readiness.check()
    findings = [*health.of_readiness(status, lacks)]
    if backends is not None:
        findings += [*health.of_workers(gateway().capacity.announcements), *health.of_backends(backends)]
    findings += [] if figures is None else health.of_figures(figures)
    return health.judged(status, [*findings, *health.of_budget(budget)])
