"""Addresses of images whose names nobody knows for long: they stop the lookups of no other request of their worker."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.attack.servers.own_names import SlowNames
from tests.fleet import PATIENCE_S, chat, ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Eventually
    from tests.fleet import Fleet

ADDRESS = f"127.83.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
"""Of this process: another one may run the same test."""
CALLERS, REQUESTS, LOOKUPS = 3, 3, 12
"""Of a caller four at a time, however many requests it has; of a worker sixteen."""
PATH = "/v1/chat/completions"


@pytest.fixture
async def names() -> AsyncIterator[SlowNames]:
    """Yield the name server, at an address of this machine that nobody else has."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(SlowNames, local_addr=(ADDRESS, 53))
    yield server
    transport.close()


def asking(*hosts: str) -> dict[str, object]:
    """Return a request with images of these hosts."""
    images = [{"type": "image_url", "image_url": {"url": f"http://{host}/a.png"}} for host in hosts]
    return chat(messages=[{"role": "user", "content": images}])


async def test_images_of_slow_names_stop_no_lookup_of_others(
    fleet: Fleet, names: SlowNames, tmp_path: Path, eventually: Eventually
) -> None:
    """While one caller's are looked up another's image is found to be none of the public internet; chats go on."""
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(f"nameserver {ADDRESS}\noptions timeout:30 attempts:1\n")
    api = await fleet.api()
    fleet.start("local", ["tests.attack.servers.own_names", str(resolver), "workers", "local"], 0, {})
    await ready(api, eventually)
    async with httpx.AsyncClient(base_url=api.url, timeout=PATIENCE_S) as client:

        async def asked(body: dict[str, object], key: str) -> httpx.Response:
            return await client.post(PATH, json=body, headers={"authorization": f"Bearer {key}"})

        slow = []
        for caller in range(CALLERS):
            key = await fleet.key(rpm_limit=REQUESTS)
            for request in range(REQUESTS):
                hosts = [f"slow-{caller}-{request}-{number}.example" for number in range(16)]
                slow.append(asyncio.create_task(asked(asking(*hosts), key)))
        await eventually(lambda: len({name for name in names.asked if name.startswith("slow")}) == LOOKUPS)
        keys = [await fleet.key(rpm_limit=1) for _ in range(2)]
        other, plain = await asyncio.gather(asked(asking("quick.example"), keys[0]), asked(chat(), keys[1]))
        assert (other.status_code, plain.status_code) == (400, 200), other.text
        assert "quick.example" in names.asked
        assert not any(task.done() for task in slow)

        def ended() -> bool:
            names.let_go()
            return all(task.done() for task in slow)

        await eventually(ended)
    refusals = [task.result().json()["error"]["code"] for task in slow]
    assert refusals == ["invalid_image_url"] * CALLERS * REQUESTS
