"""Valkey writes its append-only file anew, as it does every hour, in the middle of everything: nothing is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.redis import client as redis_client
from tests.fleet import chat
from tests.streams import usage_rows
from tests.upstreams.numbered import words

if TYPE_CHECKING:
    import httpx

    from cli.up.embedded.valkey import EmbeddedValkey
    from tests.conftest import Eventually
    from tests.fleet import Fleet
    from tests.upstreams.numbered import NumberedUpstream

REWRITES = 3
AT_ONCE = 10


async def test_no_request_suffers_while_the_append_only_file_is_rewritten(
    client: httpx.AsyncClient,
    fleet: Fleet,
    valkey: EmbeddedValkey,
    upstream: NumberedUpstream,
    eventually: Eventually,
) -> None:
    """Each answer is whole and has its row."""
    redis = redis_client.connect(valkey.url())
    is_over = asyncio.Event()
    answered = 0

    async def ask() -> None:
        nonlocal answered
        while not is_over.is_set():
            reply = await client.post("/v1/chat/completions", json=chat())
            assert reply.status_code == 200, reply.text
            assert reply.json()["choices"][0]["message"]["content"] == words(upstream.tokens)
            answered += 1

    async def is_rewritten() -> bool:
        info = await redis.info("persistence")
        return not (info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"])

    asking = [asyncio.create_task(ask()) for _ in range(AT_ONCE)]
    for _ in range(REWRITES):
        before = answered
        await eventually(lambda before=before: answered > before + AT_ONCE)  # type: ignore[misc]  # bound in the loop
        await valkey.rewrite()
        await eventually(is_rewritten)
    is_over.set()
    await asyncio.gather(*asking)
    rows = await usage_rows(fleet, eventually, answered)
    assert {(row["status"], row["completion_tokens"]) for row in rows} == {(200, upstream.tokens)}
    info = await redis.info("persistence")
    assert (info["aof_last_bgrewrite_status"], info["aof_last_write_status"]) == ("ok", "ok")
    await redis_client.close(redis)
