"""The servers of the tests leave nothing behind: a socket that is left is a warning in the middle of another test."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings

import pytest

from tests.upstreams.numbered import NumberedUpstream
from tests.upstreams.scripted import ScriptedUpstream


async def _connect_late(upstream: NumberedUpstream | ScriptedUpstream, rounds: int) -> socket.socket:
    async with upstream:
        host, _, port = upstream.url.removeprefix("http://").removesuffix("/v1").partition(":")
        client = socket.create_connection((host, int(port)))
        for _ in range(rounds):
            await asyncio.sleep(0)
    return client


@pytest.mark.parametrize("rounds", range(6))
@pytest.mark.parametrize("kind", [NumberedUpstream, ScriptedUpstream])
def test_a_connection_of_the_last_moment_is_closed(
    kind: type[NumberedUpstream | ScriptedUpstream], rounds: int
) -> None:
    """However far it has come when its server ends: workers look for models to the end."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        asyncio.run(_connect_late(kind(), rounds)).close()
        gc.collect()
    assert [str(each.message) for each in found if each.category is ResourceWarning] == []
