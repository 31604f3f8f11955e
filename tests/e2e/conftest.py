"""Two gateways for the whole session, each started when a test first asks for it.

`stack` is a newcomer's: nothing configured, the embedded model. `scripted` has the scripted upstream `upstream` as its
only model server, with SLOTS slots, so that a test decides what the model says and when. The tests of one gateway are
in the xdist group of its name, so that it runs once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.redis import client as redis_client
from tests.conftest import new_database
from tests.e2e.checked_client import checked_async_client, checked_client
from tests.e2e.served import CHAT, Served, openais_own
from tests.e2e.stack import Key, Stack
from tests.fleet import PATIENCE_S
from tests.upstreams.openai.replies import text
from tests.upstreams.scripted import ScriptedUpstream, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from openai import AsyncOpenAI, OpenAI

    from tests.conftest import Eventually

SLOTS = 4


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a newcomer's gateway."""
    with Stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def key(stack: Stack) -> Key:
    """Return a key of `stack` with a limit that no test reaches."""
    return stack.new_key("e2e")


@pytest.fixture
def client(stack: Stack, key: Key) -> Iterator[OpenAI]:
    """Yield the official client of `stack`."""
    with checked_client(stack.base_url, key.secret) as made:
        yield made


@pytest.fixture
async def async_client(stack: Stack, key: Key) -> AsyncIterator[AsyncOpenAI]:
    """Yield the official client of `stack`, for asyncio."""
    async with checked_async_client(stack.base_url, key.secret) as made:
        yield made


@pytest.fixture(scope="session")
async def _upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as server:
        yield server


@pytest.fixture(scope="session")
async def _scripted(tmp_path_factory: pytest.TempPathFactory, _upstream: ScriptedUpstream) -> AsyncIterator[Stack]:
    configured = {"CLAW_LOCAL_OPENAI_URL": f"{_upstream.url}/v1", "CLAW_LOCAL_OPENAI_SLOTS": str(SLOTS)}
    made = Stack(tmp_path_factory.mktemp("scripted"), **configured)
    _upstream.fallback = sse(text("A", " first", " answer"))
    await asyncio.to_thread(made.__enter__)
    try:
        yield made
    finally:
        await asyncio.to_thread(made.__exit__, None, None, None)


@pytest.fixture(scope="session")
async def scripted_key(_scripted: Stack) -> Key:
    """Return a key of `scripted` with a limit that no test reaches."""
    return await asyncio.to_thread(_scripted.new_key, "e2e")


@pytest.fixture
async def scripted(_scripted: Stack, scripted_key: Key, eventually: Eventually) -> Stack:
    """Return the gateway with the scripted upstream.

    Between the tests nobody runs this event loop, nor the upstream in it: the gateway may have lost it for a while.
    """

    async def offers_model() -> bool:
        headers = {"authorization": f"Bearer {scripted_key.secret}"}
        async with httpx.AsyncClient(trust_env=False, headers=headers, timeout=PATIENCE_S) as http:
            return (await http.get(f"{_scripted.url}/v1/models/scripted")).status_code == 200

    await eventually(offers_model)
    return _scripted


@pytest.fixture
def upstream(scripted: Stack, _upstream: ScriptedUpstream) -> ScriptedUpstream:  # noqa: ARG001 -- it must be running
    """Return the upstream of `scripted`: with nothing in its script, and no request seen."""
    _upstream.forget()
    return _upstream


@pytest.fixture(scope="module")
async def _openais_own(
    tmp_path_factory: pytest.TempPathFactory,
    valkey_url: str,
    postgres_url: str,
    _template: str,
    eventually: Eventually,
) -> AsyncIterator[Served]:
    redis = redis_client.connect(valkey_url)
    await redis.flushall()
    await redis_client.close(redis)
    folder = tmp_path_factory.mktemp("openai")
    async with (
        new_database(postgres_url, _template) as database_url,
        openais_own(folder, valkey_url, database_url, eventually) as gateway,
    ):
        yield gateway


@pytest.fixture
async def served_by_openai(_openais_own: Served, eventually: Eventually) -> Served:
    """Return a gateway in front of OpenAI's own API, with nothing in its script."""
    await _openais_own.until_offered(eventually)
    _openais_own.upstream.forget()
    return _openais_own


@pytest.fixture
def served_locally(scripted: Stack, scripted_key: Key, upstream: ScriptedUpstream) -> Served:
    """Return the gateway with the scripted local server."""
    return Served(scripted.base_url, scripted_key.secret, upstream, "scripted", CHAT)


@pytest.fixture(params=["served_locally", "served_by_openai"])
def served(request: pytest.FixtureRequest) -> Served:
    """Return a gateway of a local server that speaks chat, or OpenAI's own API that speaks Responses."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]  # pytest says Any


@pytest.fixture
async def served_client(served: Served) -> AsyncIterator[AsyncOpenAI]:
    """Yield the official client of `served`."""
    async with checked_async_client(served.base_url, served.secret) as made:
        yield made


@pytest.fixture
async def scripted_client(scripted: Stack, scripted_key: Key) -> AsyncIterator[AsyncOpenAI]:
    """Yield the official client of `scripted`."""
    async with checked_async_client(scripted.base_url, scripted_key.secret) as made:
        yield made
