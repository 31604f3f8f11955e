"""A key that is refused all the time, and records that are too large: neither stops the usage log."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from api.accounting.refusals import LEAST
from shared.redis.client import close, connect
from shared.redis.names import REJECTED_USAGE_STREAM, USAGE_STREAM
from tests.clock import minute_lasts
from tests.fleet import PATIENCE_S, chat

if TYPE_CHECKING:
    from cli.up.embedded.valkey import EmbeddedValkey
    from tests.conftest import Eventually
    from tests.fleet import Fleet, Process

WRONG = {"model": "gpt-4o", "messages": "none"}


@pytest.fixture
async def limited(fleet: Fleet, api: Process) -> httpx.AsyncClient:
    """Return a client whose key may ask once a minute."""
    headers = {"authorization": f"Bearer {await fleet.key(rpm_limit=1)}"}
    return httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S)


async def test_a_key_is_refused_only_so_often_a_minute(
    limited: httpx.AsyncClient, fleet: Fleet, eventually: Eventually
) -> None:
    """Then it gets 429 whatever it asks; every request is in the log, the many in one row with their count."""
    await minute_lasts()
    async with limited:
        codes = []
        for _ in range(LEAST + 40):
            answer = await limited.post("/v1/chat/completions", json=WRONG)
            codes.append((answer.status_code, answer.json()["error"]["code"]))
        assert codes[: LEAST - 1] == [codes[0]] * (LEAST - 1)
        assert codes[0][0] == 400
        assert codes[-20:] == [(429, "too_many_refusals")] * 20
        blocked = await limited.post("/v1/chat/completions", json=chat())
        assert blocked.status_code == 429
        assert 0 < float(blocked.headers["retry-after"]) <= 60

    async def all_logged() -> bool:
        rows = await fleet.usage()
        return bool(sum(row["count"] for row in rows) == LEAST + 41)

    await eventually(all_logged)
    rows = await fleet.usage()
    assert len(rows) < LEAST + 10
    # By code, since what comes before Redis has counted the last ones is refused for its own reason, and counted too.
    logged: Counter[str] = Counter()
    for row in rows:
        logged[row["error_code"]] += row["count"]
    assert logged == Counter([*(code for _, code in codes), "too_many_refusals"])


async def test_refusals_cost_nothing_of_the_limit(limited: httpx.AsyncClient) -> None:
    """After twenty of them the one request of the minute is still there."""
    await minute_lasts()
    async with limited:
        for _ in range(20):
            assert (await limited.post("/v1/chat/completions", json=WRONG)).status_code == 400
        assert (await limited.post("/v1/chat/completions", json=chat())).status_code == 200


async def test_listing_models_makes_only_so_many_rows_a_minute(
    limited: httpx.AsyncClient, fleet: Fleet, eventually: Eventually
) -> None:
    """It goes on being answered, and is counted."""
    await minute_lasts()
    async with limited:
        for _ in range(LEAST + 60):
            assert (await limited.get("/v1/models")).status_code == 200

    async def all_logged() -> bool:
        rows = await fleet.usage("models")
        return bool(sum(row["count"] for row in rows) == LEAST + 60)

    await eventually(all_logged)
    assert len(await fleet.usage("models")) < LEAST + 10


async def test_records_that_are_too_large_stop_no_other(
    client: httpx.AsyncClient, valkey: EmbeddedValkey, fleet: Fleet, eventually: Eventually
) -> None:
    """They go to the rejected ones, with their beginning alone; what comes after them is recorded."""
    redis = connect(valkey.url())
    record = {"request_id": "x", "key_id": None, "endpoint": "chat", "asked_model": "m" * 8_000_000, "admitted_ms": 1}
    for _ in range(40):
        await redis.xadd(USAGE_STREAM, {"r": msgspec.json.encode(record)})
    assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200

    async def is_recorded() -> bool:
        return len(await fleet.usage()) == 1 and not await redis.xlen(USAGE_STREAM)

    await eventually(is_recorded)
    assert await redis.xlen(REJECTED_USAGE_STREAM) == 40
    assert sum(len(fields[b"r"]) for _, fields in await redis.xrange(REJECTED_USAGE_STREAM)) < 1_000_000
    await close(redis)
