"""The overview's statements on a real PostgreSQL: what they count, and what they read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from api.ui.pages.overview.figures import read_figures
from api.ui.pages.overview.spans import SPANS
from shared.postgres import queries
from shared.postgres.ui import overview_queries
from shared.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from shared.postgres.database import Database

NOW = datetime(2026, 11, 27, 4, 17, 31, tzinfo=UTC)
_INSERT = """
INSERT INTO np_claw_api_usage (
    day, request_id, endpoint, asked_model, model, tier, stream, status, error_code, prompt_tokens, completion_tokens,
    cached_tokens, reasoning_tokens, usage_source, cost_usd, attempts, wait_ms, first_token_ms, duration_ms,
    admitted_at, count
)
VALUES ($1, $2, $3, 'auto', $4, $5, true, $6, $7, $8, $9, 0, 0, 'reported', $10, 1, $11, $12, $13, $14, $15)
"""


async def record(database: Database, ago: timedelta, **fields: Any) -> None:
    """Put a request into the usage log."""
    found = {
        "endpoint": "chat", "model": "own", "tier": "local", "status": 200, "error_code": None, "prompt_tokens": 100,
        "completion_tokens": 10, "cost_usd": 0, "wait_ms": 5, "first_token_ms": 100, "duration_ms": 1100, "count": 1,
    } | fields  # fmt: skip
    at = NOW - ago
    names = (
        "endpoint", "model", "tier", "status", "error_code", "prompt_tokens", "completion_tokens", "cost_usd",
        "wait_ms", "first_token_ms", "duration_ms",
    )  # fmt: skip
    await database.execute(_INSERT, at.date(), uuid4(), *(found[name] for name in names), at, found["count"])


async def test_the_figures_of_a_span_are_what_is_in_it(database: Database, tmp_path: Path) -> None:
    """By step, tier and outcome; what is older is left out, and who asked what there is."""
    await record(database, timedelta(minutes=1))
    await record(database, timedelta(minutes=1), tier="gemini", model="gemini-3.8-flash")
    await record(database, timedelta(minutes=30), tier="paid", model="gpt-5", cost_usd=0.5)
    await record(database, timedelta(minutes=30), tier="", model="", status=429, error_code="rate_limited", count=40)
    await record(database, timedelta(minutes=59), status=502, error_code="upstream_unavailable")
    await record(database, timedelta(minutes=2), status=499, error_code="cancelled")
    await record(database, timedelta(minutes=61), model="too old")
    await record(database, timedelta(minutes=3), endpoint="models", tier="", model="")
    found = await read_figures(database, Settings(data_dir=tmp_path), SPANS[0], NOW)
    assert {name: sum(counts) for name, counts in found.requests.items()} == {
        "local": 1, "gemini": 1, "paid": 1, "cancelled": 1, "failed": 41,
    }  # fmt: skip
    assert found.requests["local"][-2] == 1
    assert sum(found.paid) == 0.5
    assert sum(found.saved) > 0
    assert [(row["code"], row["count"]) for row in found.failures] == [
        ("rate_limited", 40),
        ("upstream_unavailable", 1),
    ]
    assert {row["model"] for row in found.slowest} == {"own", "gemini-3.8-flash", "gpt-5"}


async def test_the_slowest_come_first_with_how_fast_they_were(database: Database, tmp_path: Path) -> None:
    """Half and 95 of 100 by their first token; an answer that was not streamed by its end."""
    for first_token_ms in (100, 200, 300):
        await record(database, timedelta(minutes=5), first_token_ms=first_token_ms)
    await record(database, timedelta(minutes=5), model="slow", first_token_ms=None, duration_ms=9000, wait_ms=None)
    found = await read_figures(database, Settings(data_dir=tmp_path), SPANS[1], NOW)
    slow, own = found.slowest
    assert (slow["model"], slow["half_ms"], slow["tokens_per_s"]) == ("slow", 9000, 10 / 9)
    assert (own["model"], own["half_ms"]) == ("own", 200)
    assert 280 < own["most_ms"] <= 300


def partitions(plan: dict[str, Any]) -> set[str]:
    """Return the tables that a plan reads."""
    found = {plan["Relation Name"]} if "Relation Name" in plan else set()
    return found.union(*(partitions(each) for each in plan.get("Plans", ())))


async def test_only_the_partitions_of_the_span_are_read(database: Database) -> None:
    """And the default one, which has days without their own."""
    for ago in range(40):
        await database.execute(queries.ENSURE_USAGE_DAY, NOW.date() - timedelta(days=ago))
    start, end = NOW - timedelta(hours=24), NOW
    days = (start.date(), end.date())
    for statement, values in (
        (overview_queries.USAGE_BY_STEP, (start, end, 1800.0, *days)),
        (overview_queries.FAILURES, (start, end, *days, 8)),
        (overview_queries.SLOWEST, (start, end, *days, 8)),
    ):
        async with database.connection() as connection:
            raw = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
        read = partitions(json.loads(raw)[0]["Plan"])
        assert read <= {f"np_claw_api_usage_{day:%Y%m%d}" for day in days} | {"np_claw_api_usage_default"}
        assert len(read) >= 2
