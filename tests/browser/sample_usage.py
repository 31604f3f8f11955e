"""A usage log as a gateway has it that was used for a month."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from shared.postgres import queries
from shared.postgres.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

DAYS: Final = 30
_FIRST_ID: Final = 1 << 100
_INSERT: Final = """
INSERT INTO np_claw_api_usage (
    day, request_id, endpoint, asked_model, model, tier, stream, status, error_code, prompt_tokens, completion_tokens,
    cached_tokens, reasoning_tokens, usage_source, cost_usd, attempts, wait_ms, first_token_ms, duration_ms, admitted_at
)
VALUES ($1, $2, 'chat', 'auto', $3, $4, true, $5, $6, $7, $8, 0, 0, 'reported', $9, 1, $10, $11, $12, $13)
"""


class _Kind(NamedTuple):
    """One way in which requests end: how often, where, and how."""

    weight: int
    tier: str
    model: str
    status: int = 200
    code: str | None = None
    first_ms: int = 400
    usd_per_token: float = 0.0


_KINDS: Final = (
    _Kind(60, "local", "qwen3:8b", first_ms=350),
    _Kind(20, "local", "gemma3:4b", first_ms=220),
    _Kind(30, "gemini", "gemini-3.8-flash", first_ms=900),
    _Kind(6, "paid", "gpt-5.4-nano", first_ms=600, usd_per_token=1e-6),
    _Kind(3, "paid", "claude-haiku-4-5", first_ms=1400, usd_per_token=4e-6),
    # So many that no failures of other tests on the same gateway take its place in a list of the most frequent.
    _Kind(12, "local", "qwen3:8b", 503, "upstream_unavailable"),
    _Kind(2, "", "", 429, "rate_limited"),
    _Kind(1, "gemini", "gemini-3.8-flash", 499, "cancelled"),
)


async def with_usage(database_url: str) -> None:
    """Put the log of a month up to now into a database."""
    end = datetime.now(UTC)
    async with Database(database_url) as database:
        for ago in range(DAYS + 1):
            await database.execute(queries.ENSURE_USAGE_DAY, (end - timedelta(days=ago)).date())
        async with database.connection() as connection:
            await connection.executemany(_INSERT, list(_rows(end)))


def _rows(end: datetime) -> Iterator[tuple[object, ...]]:
    chance = random.Random(7)  # the same each time
    number = _FIRST_ID
    for hour in range(DAYS * 24):
        at = end - timedelta(hours=hour)
        # More by day than by night.
        for _ in range(round(14 + 11 * math.sin(at.hour / 24 * 2 * math.pi - 2))):
            number += 1
            kind = chance.choices(_KINDS, [each.weight for each in _KINDS])[0]
            prompt, completion = chance.randint(80, 3000), chance.randint(20, 900) if kind.status == 200 else 0
            wait_ms, first_ms = chance.randint(1, 300), round(kind.first_ms * chance.uniform(0.6, 2.2))
            moment = at + timedelta(minutes=chance.uniform(-59, 0))
            yield (
                moment.date(), UUID(int=number), kind.model, kind.tier, kind.status, kind.code, prompt, completion,
                (prompt + completion) * kind.usd_per_token, wait_ms, wait_ms + first_ms,
                wait_ms + first_ms + completion * 20, moment,
            )  # fmt: skip
