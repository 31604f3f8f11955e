"""A worker that is woken for a job and does nothing, and one that stands still over an answer."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.fleet import PATIENCE_S, Fleet, chat, ready
from tests.upstreams.scripted import Answer, ScriptedUpstream

if TYPE_CHECKING:
    from tests.conftest import Eventually
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


@pytest.mark.parametrize(("inputs", "status", "asked"), [(2000, 502, 1), (1, 200, 2)], ids=["large", "small"])
async def test_what_may_have_frozen_a_worker_is_tried_with_no_other_one(
    fleet: Fleet, eventually: Eventually, inputs: int, status: int, asked: int
) -> None:
    """It stands still in the middle of its answer. A small one was not the reason: another worker asks for it."""
    found = [{"index": index, "embedding": [0.5] * 2000} for index in range(inputs)]
    vectors = json.dumps({"data": found, "usage": {"prompt_tokens": 9}}).encode()
    kind = {"content-type": "application/json"}
    async with ScriptedUpstream(["embed"]) as upstream:
        upstream.routes["/v1/embeddings"] = Answer((vectors[:-9], asyncio.Event()), headers=kind)
        api = await fleet.api()
        first = await fleet.worker(CLAW_LOCAL_OPENAI_URL=f"{upstream.url}/v1")
        await ready(api, eventually)
        headers = {"authorization": f"Bearer {await fleet.key()}"}
        async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:
            asking = asyncio.ensure_future(
                client.post("/v1/embeddings", json={"model": "embed", "input": ["x"] * inputs})
            )

            def reads() -> bool:
                """Return whether most of the answer has been read: what a socket holds is far less than a large one."""
                is_asked = any(each.path == "/v1/embeddings" for each in upstream.route_requests)
                return is_asked and not any(each.transport.get_write_buffer_size() for each in upstream._connections)

            await eventually(reads)
            upstream.routes["/v1/embeddings"] = Answer((vectors,), headers=kind)
            second = await fleet.worker(CLAW_LOCAL_OPENAI_URL=f"{upstream.url}/v1")
            await eventually(lambda: "serving" in second.log.read_text())
            first.process.send_signal(signal.SIGSTOP)
            answer = await asking
        assert answer.status_code == status, answer.text[:300]
        assert sum(each.path == "/v1/embeddings" for each in upstream.route_requests) == asked
        if status != 200:
            assert answer.json()["error"]["code"] == "worker_lost"
