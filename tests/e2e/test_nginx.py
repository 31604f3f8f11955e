"""The page's nginx server block in front of the gateway."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import httpx
import httpx2
import pytest
from openai import AsyncOpenAI

from cli.up.ports import free_port
from tests.balancers import nginx
from tests.e2e import page
from tests.fleet import PATIENCE_S
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Eventually
    from tests.e2e.stack import Key, Stack
    from tests.upstreams.scripted import ScriptedUpstream

pytestmark = [pytest.mark.xdist_group("scripted"), pytest.mark.debian]


def server_block(gateway_port: int, port: int, certificate: Path | None) -> str:
    """Return the page's, with our ports; without a certificate, without TLS."""
    lines = page.NGINX.replace("127.0.0.1:3713", f"127.0.0.1:{gateway_port}").splitlines()
    if certificate is None:
        lines = [line.replace(" ssl;", ";") for line in lines if "ssl_" not in line]
    text = "\n".join(lines).replace("listen 443", f"listen 127.0.0.1:{port}")
    return text.replace("/etc/ssl/certs/fullchain.pem", f"{certificate}/fullchain.pem").replace(
        "/etc/ssl/certs/privkey.pem", f"{certificate}/privkey.pem"
    )


async def _certificate(folder: Path) -> ssl.SSLContext:
    """Return a certificate signed by itself for the page's domain and this machine, and a context that trusts it."""
    made = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2", "-subj", "/CN=api.yourdomain.com"),
        *("-addext", "subjectAltName=DNS:api.yourdomain.com,DNS:localhost,IP:127.0.0.1"),
        *("-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await made.wait() == 0
    return ssl.create_default_context(cafile=str(folder / "fullchain.pem"))


@pytest.fixture(params=["http", "https"])
async def proxied(
    request: pytest.FixtureRequest, scripted: Stack, scripted_key: Key, tmp_path: Path, eventually: Eventually
) -> AsyncIterator[AsyncOpenAI]:
    """Yield the official client of the gateway behind nginx."""
    port = free_port()
    trusting = await _certificate(tmp_path) if request.param == "https" else None
    block = server_block(scripted.port, port, tmp_path if trusting else None)
    async with (
        nginx(tmp_path, block, port, eventually),
        httpx2.AsyncClient(verify=trusting or True, trust_env=False) as http,
        AsyncOpenAI(
            base_url=f"{request.param}://127.0.0.1:{port}/v1",
            api_key=scripted_key.secret,
            max_retries=0,
            timeout=60,
            http_client=http,
        ) as client,
    ):
        yield client


async def test_page_s_server_block_passes_each_token_on_at_once(
    proxied: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """The model says each token only once the client has the one before it: nothing may wait in a buffer."""
    tokens = [f"token {number} " for number in range(5)]
    gates = [asyncio.Event() for _ in tokens]
    steps = [step for token, gate in zip(tokens, gates, strict=True) for step in (_reported(token), gate)]
    upstream.add(sse(*steps, openai_replies.chunk(finish_reason="stop"), openai_replies.DONE))
    stream = await proxied.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": "Hello"}], stream=True
    )
    said = []
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            said.append(chunk.choices[0].delta.content)
            gates[len(said) - 1].set()
    assert said == tokens


def _reported(token: str) -> bytes:
    return openai_replies.chunk({"content": token})


async def test_page_s_server_block_passes_whole_answers_and_models(
    proxied: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """Requests that do not stream, over a connection that stays open."""
    upstream.fallback = sse(openai_replies.text("Hello", " there"))
    for _ in range(3):
        reply = await proxied.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hello"}])
        assert reply.choices[0].message.content == "Hello there"
    assert [model.id async for model in proxied.models.list()] == ["auto", "local", "scripted"]


async def test_a_client_that_leaves_nginx_stops_the_model(
    proxied: AsyncOpenAI, upstream: ScriptedUpstream, eventually: Eventually
) -> None:
    """Nginx closes its connection to the gateway, which closes that to the model."""
    never = asyncio.Event()
    aborted = upstream.aborted
    upstream.add(sse(_reported("first"), never))
    stream = await proxied.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": "Hello"}], stream=True
    )
    await anext(aiter(stream))
    await stream.close()
    await eventually(lambda: upstream.aborted == aborted + 1)


async def test_management_is_not_reachable_through_page_s_server_block(
    scripted: Stack, tmp_path: Path, eventually: Eventually
) -> None:
    """Only /v1/ is: keys and usage stay with who has the machine."""
    port = free_port()
    secret = (await asyncio.to_thread(scripted.environment))["PLUGIN_INTERNAL_SECRET"]
    async with (
        nginx(tmp_path, server_block(scripted.port, port, None), port, eventually),
        httpx.AsyncClient(trust_env=False, headers={"x-internal-token": secret}, timeout=PATIENCE_S) as http,
    ):
        reached = await http.get(f"http://127.0.0.1:{port}/v1/models")
        hidden = await http.get(f"http://127.0.0.1:{port}/claw/v1/api-keys")
    assert (reached.status_code, hidden.status_code) == (200, 404)
