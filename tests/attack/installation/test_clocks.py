"""Processes whose clocks differ from Redis's and from each other's by an hour: nobody is judged by a foreign clock."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.fleet import PATIENCE_S, chat, ready
from tests.streams import Reader, usage_rows
from tests.upstreams.numbered import words

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.fleet import Fleet, Process
    from tests.upstreams.numbered import NumberedUpstream

HOUR_S = 3600


def off(fleet: Fleet, ahead_s: int, kind: str, command: list[str], port: int = 0) -> Process:
    """Start a process whose clock is so far ahead, behind where that is negative."""
    wrapped = ["tests.attack.installation.elsewhere", json.dumps({"ahead_s": ahead_s}), *command]
    return fleet.start(kind, wrapped, port, {"CLAW_PORT": str(port)} if port else {})


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S], ids=["ahead", "behind"])
@pytest.mark.parametrize("kind", ["local", "recorder"])
async def test_a_process_whose_clock_is_off_harms_nobody(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually, kind: str, ahead_s: int
) -> None:
    """Also a request that has to wait for its turn is served; nothing that runs is judged dead; each is logged."""
    api = await fleet.api()
    off(fleet, ahead_s, kind, ["workers", kind])
    await (fleet.recorder() if kind == "local" else fleet.worker())
    await ready(api, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:
        upstream.failures = [429]
        waited = await client.post("/v1/chat/completions", json=chat())
        assert waited.status_code == 200, waited.text
        upstream.hold_at = 3
        reader = Reader(client)
        await eventually(lambda: reader.content == words(3))
        await usage_rows(fleet, eventually, 1)
        upstream.resume.set()
        await reader.task
        assert reader.content == words(upstream.tokens)
        assert reader.done
    rows = await usage_rows(fleet, eventually, 2)
    assert {row["status"] for row in rows} == {200}
    assert all(0 <= row["duration_ms"] < 2 * HOUR_S * 1000 for row in rows)
