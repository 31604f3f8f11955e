"""Checks of this machine beside `shared/process/doctor`: its port, model servers that it names."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import httpx

from cli.up.ports import is_free
from shared.process.doctor.finding import Finding
from shared.process.doctor.of_machine import readiness

if TYPE_CHECKING:
    from shared.settings import Settings

TIMEOUT_S: Final = 5.0


async def check_api(settings: Settings, url: str, *, is_ours: bool) -> list[Finding]:
    """Check the api's port: our gateway answers there and is ready, or the port is free for one.

    Args:
        settings: what is configured.
        url: where the gateway would be.
        is_ours: whether `nself claw up` runs on the data folder.
    """
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
            reply = await client.get(f"{url}/ready")
            body = reply.json()
    except (httpx.HTTPError, ValueError):
        body = None
    if isinstance(body, dict) and "status" in body:
        lacks = {name: body.get("why", {}).get(name, "") for name, state in body.items() if state == "missing"}
        return [readiness(f"The gateway at {url}", body["status"], lacks)]
    if is_ours:
        return [
            Finding("api", "wrong", f"It does not answer at {url}", "Its log says why: log/web.log of the data folder.")
        ]
    return [_port(settings)]


def _port(settings: Settings) -> Finding:
    try:
        free = is_free(settings.host, settings.port)
    except (OSError, UnicodeError) as error:
        mend = "Correct CLAW_HOST and CLAW_PORT."
        return Finding("api", "wrong", f"Nobody can listen at {settings.host}:{settings.port}: {error}", mend)
    if free:
        text = f"No gateway runs here; port {settings.port} is free for one"
        return Finding("api", "note", text, "Start it: nself claw up")
    text = f"Port {settings.port} on {settings.host} is taken by another program"
    return Finding("api", "wrong", text, "Stop that, or choose another: CLAW_PORT.")


async def check_open_knowledge(settings: Settings) -> list[Finding]:
    """Check that nobody reads the knowledge base without the token by way of a proxy that passes for this machine."""
    if not settings.knowledge_without_token or not settings.base_url:
        return []
    url = f"{settings.public_url.removesuffix('/v1')}/claw/knowledge/version"
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client, client.stream("GET", url) as reply:
            # That of the connection: the name may lead to this machine itself, which is no harm.
            address = reply.extensions["network_stream"].get_extra_info("server_addr")[0]
    except (httpx.HTTPError, httpx.InvalidURL):
        return []
    return open_knowledge(url, reply.status_code, address)


def open_knowledge(url: str, status: int, address: str) -> list[Finding]:
    """Return what it means that a server at an address answers so who asks for knowledge without the token."""
    if status != httpx.codes.OK or ip_address(address.partition("%")[0]).is_loopback:
        return []
    text = f"{url} answers anybody: a proxy on the gateway's machine passes requests on without saying so"
    mend = "Let it send X-Forwarded-For, or set CLAW_KNOWLEDGE_WITHOUT_TOKEN=false."
    return [Finding("knowledge", "wrong", text, mend)]


async def check_model_servers(settings: Settings) -> list[Finding]:
    """Ask the model servers that are named in the environment, from this machine; not those that workers alone know."""
    found = []
    async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
        if settings.ollama_url:
            variable = "PLUGIN_OLLAMA_URL (or OLLAMA_HOST)"
            found.append(await _ask(client, variable, f"{settings.ollama_url}/api/version", None))
        for name, url, key in (
            ("CLAW_LOCAL_OPENAI_URL", settings.local_openai_url, settings.local_openai_api_key),
            ("CLAW_LOCAL_EMBEDDINGS_URL", settings.local_embeddings_url, None),
        ):
            if url:
                found.append(await _ask(client, name, f"{url.rstrip('/')}/models", key))
    return found


async def _ask(client: httpx.AsyncClient, variable: str, url: str, key: str | None) -> Finding:
    mend = f"Is it running, and is {variable} right?"
    try:
        reply = await client.get(url, headers={"authorization": f"Bearer {key}"} if key else {})
        body = reply.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Finding("model server", "wrong", f"{variable} does not answer: {type(error).__name__}", mend)
    if reply.is_error or not isinstance(body, dict):
        return Finding("model server", "wrong", f"{variable} answers with status {reply.status_code}", mend)
    detail = f"version {body['version']}" if "version" in body else f"{len(body.get('data') or ())} models"
    return Finding("model server", "ok", f"{variable} answers: {detail}")
