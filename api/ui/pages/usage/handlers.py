"""Pages of the usage log."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from quart import Response, request

from api.endpoints.manage.usage import ERASED_KEY_ID, INTERNAL_KEY_ID, shown_entry, wait_until_recorded
from api.endpoints.queue.requests import current_state, open_record, request_hex
from api.gateway import gateway
from api.ui.links import url
from api.ui.navigation import USAGE
from api.ui.pages.usage import table_file
from api.ui.pages.usage.charts import usage_chart
from api.ui.pages.usage.filters import MEASURES, OUTCOMES, OWN_SPAN, SPANS, read_cursor, read_filters
from api.ui.render import render, see_other
from shared.errors import NotFound
from shared.postgres import queries
from shared.postgres.ui.usage import UsageReport
from shared.queue.whole_story import whole_story
from shared.types import TIERS

if TYPE_CHECKING:
    from api.ui.pages.usage.filters import Filters

PAGE_ROWS: Final = 50


async def show_usage() -> Response:
    """Show the requests of a span of time: sums, a chart, and a page of the table."""
    if request.args.get("request", "").strip():
        return see_other(url("usage", "req_" + request_hex(request.args["request"].strip())))
    filters = read_filters(request.args)
    before = read_cursor(request.args.get("before", ""))
    state, now = gateway(), datetime.now(UTC)
    await wait_until_recorded(state.redis)
    report = UsageReport(state.database, filters.wanted(now))
    rows, totals, steps, models, keys = await asyncio.gather(
        report.page(PAGE_ROWS + 1, before),
        report.totals(),
        report.steps(filters.span.step.total_seconds()),
        report.models(),
        state.keys.list(include_revoked=True),
    )
    shown = [shown_entry(row) for row in rows[:PAGE_ROWS]]
    return await render(
        "usage/list.html",
        USAGE,
        filters=filters,
        spans=[*((span.name, span.label) for span in SPANS), (OWN_SPAN, "From … to …")],
        times=own_times(filters, now),
        outcomes=OUTCOMES,
        measures=MEASURES,
        tiers=[("", "Any"), *((tier, tier) for tier in TIERS)],
        keys=_key_choices(keys, filters),
        models=models,
        totals=totals,
        chart=usage_chart(steps, filters.by, filters.times(now), filters.span.step),
        rows=shown,
        older=_older(shown) if len(rows) > PAGE_ROWS else None,
        is_first=before is None,
    )


async def download_usage() -> Response:
    """Send what the filter means as a file of comma-separated values."""
    filters, state, now = read_filters(request.args), gateway(), datetime.now(UTC)
    await wait_until_recorded(state.redis)
    report = UsageReport(state.database, filters.wanted(now))
    response = Response(table_file.lines(report), content_type="text/csv; charset=utf-8")
    # Quart would cut it after RESPONSE_TIMEOUT, without an error.
    response.timeout = None
    name = f"usage-{filters.span.name}-{now:%Y%m%dT%H%M}.csv"
    response.headers["content-disposition"] = f'attachment; filename="{name}"'
    return response


async def show_request(request_id: str) -> Response:
    """Show one request: how it ended and what it went through; of one that is open, where it is."""
    identity, state = request_hex(request_id), gateway()
    await wait_until_recorded(state.redis)
    row = await state.database.fetchrow(
        queries.LIST_USAGE, None, False, None, UUID(int=0), 1, UUID(identity)
    )  # fmt: skip
    if row is None:
        return await _open_request(identity)
    entry = shown_entry(row)
    story = whole_story(entry)
    began_ms = story[0]["at_ms"]
    events = [{**event, "at": _moment(event["at_ms"]), "after_ms": event["at_ms"] - began_ms} for event in story]
    return await render(
        "usage/request.html", USAGE, entry=entry, identity="req_" + identity, events=events, has_key=_has_key(entry)
    )


async def _open_request(identity: str) -> Response:
    record = await open_record(gateway().redis, identity)
    if record is None:
        raise NotFound("The usage log does not know this request, and it is not open.")
    state = await current_state(gateway().redis, identity)
    events = () if state is None else state.story
    return await render(
        "usage/open.html",
        USAGE,
        identity="req_" + identity,
        record=record,
        admitted_at=_moment(record.admitted_ms),
        state=state,
        events=[{"at": _moment(event.at_ms), "what": event.what, "detail": event.detail} for event in events],
    )


def own_times(filters: Filters, now: datetime) -> tuple[str, str]:
    """Return where the fields for a beginning and an end stand: at those of the span, in UTC."""
    until = filters.until or now
    return f"{until - filters.span.length:%Y-%m-%dT%H:%M}", f"{until:%Y-%m-%dT%H:%M}"


def _older(shown: list[dict[str, Any]]) -> str:
    return f"{shown[-1]['created_at']},{shown[-1]['request_id']}"


def _key_choices(keys: list[Any], filters: Filters) -> list[tuple[str, str]]:
    """Return what the filter offers: all keys, the internal token, and what is chosen now."""
    found = [("", "Any"), *((key.id, key.name + ("" if key.is_active else " (revoked)")) for key in keys)]
    found += [(INTERNAL_KEY_ID, "The internal token"), (ERASED_KEY_ID, "Erased keys")]
    return found if filters.key in dict(found) else [*found, (filters.key, filters.key)]


def _has_key(entry: dict[str, Any]) -> bool:
    return entry["key_id"] not in {INTERNAL_KEY_ID, ERASED_KEY_ID}


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
