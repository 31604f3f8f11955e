"""A worker that is woken for a job and does nothing."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.fleet import chat

if TYPE_CHECKING:
    import httpx

    from tests.conftest import Eventually
    from tests.fleet import Fleet
    from tests.upstreams.numbered import NumberedUpstream


async def test_jobs_for_which_frozen_workers_are_woken_are_served_by_another(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Three of four workers are stopped while they are idle, and their connections stay: what wakes them is lost."""
    others = [await fleet.worker() for _ in range(3)]
    await eventually(lambda: all("serving" in process.log.read_text() for process in others))
    for process in others:
        process.process.send_signal(signal.SIGSTOP)
    try:
        # One after the other: of several at once the first to wake the fourth would serve all.
        replies = [await client.post("/v1/chat/completions", json=chat()) for _ in range(12)]
    finally:
        for process in others:
            process.process.send_signal(signal.SIGCONT)
    assert {reply.status_code for reply in replies} == {200}
    assert len(upstream.requests) == 12, "each was made once"
