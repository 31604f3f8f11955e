"""This machine: settings, disk, ports, and the model servers that its environment names."""

from __future__ import annotations

import shutil
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import httpx

from cli.up.ports import is_free
from cli.up.preconditions import LEAST_FREE_MIB
from shared.process.doctor.finding import Finding
from shared.setting_values import SettingsError
from shared.settings import load_credentials, unknown_variables
from shared.types import TIERS

if TYPE_CHECKING:
    from shared.process.doctor.finding import State
    from shared.settings import Settings

TIMEOUT_S: Final = 5.0
LITTLE_MIB: Final = 1024
_MIB: Final = 1024 * 1024


def check_settings(settings: Settings) -> list[Finding]:
    """Check what `load_settings` lets pass: names that are no setting, credentials in part, a missing secret."""
    found = [
        Finding("settings", "wrong", unknown, "Correct or remove it: nobody reads it.")
        for unknown in unknown_variables()
    ]
    for tier in TIERS:
        try:
            load_credentials(tier)
        except SettingsError as error:
            found.append(Finding("settings", "wrong", str(error), "Correct it: no worker of its tier can start."))
    if settings.internal_secret is None:
        said = f"There is no internal secret, neither in PLUGIN_INTERNAL_SECRET nor in {settings.data_dir}"
        found.append(Finding("settings", "note", said, "nself claw up makes one; an api by itself needs it set."))
    return found or [Finding("settings", "ok", "Every variable is a setting with a value that can be used")]


def check_disk(settings: Settings) -> list[Finding]:
    """Check the disk of the data folder."""
    folder = settings.data_dir
    if not folder.is_dir():
        return [Finding("disk", "unchecked", f"There is no data folder {folder} on this machine")]
    free_mib = shutil.disk_usage(folder).free // _MIB
    mend = "Free some space, or put the data elsewhere: CLAW_DATA_DIR."
    state: State = "wrong" if free_mib < LEAST_FREE_MIB else "note" if free_mib < LITTLE_MIB else "ok"
    return [Finding("disk", state, f"{free_mib} MiB are free for {folder}", "" if state == "ok" else mend)]


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
        return [_readiness(url, body)]
    if is_ours:
        return [
            Finding("api", "wrong", f"It does not answer at {url}", "Its log says why: log/web.log of the data folder.")
        ]
    return [_port(settings)]


def _readiness(url: str, body: dict[str, Any]) -> Finding:
    why = "; ".join(f"{part}: {text}" for part, text in body.get("why", {}).items())
    missing = ", ".join(name for name, state in body.items() if state == "missing")
    said = f"The gateway at {url} is {body['status']}" + (f": {why or missing}" if why or missing else "")
    if body["status"] == "ready":
        return Finding("api", "ok", said)
    state: State = "note" if body["status"] in {"degraded", "draining"} else "wrong"
    return Finding("api", state, said, "What is missing is said below, or in its log.")


def _port(settings: Settings) -> Finding:
    try:
        free = is_free(settings.host, settings.port)
    except (OSError, UnicodeError) as error:
        mend = "Correct CLAW_HOST and CLAW_PORT."
        return Finding("api", "wrong", f"Nobody can listen at {settings.host}:{settings.port}: {error}", mend)
    if free:
        said = f"No gateway runs here; port {settings.port} is free for one"
        return Finding("api", "note", said, "Start it: nself claw up")
    said = f"Port {settings.port} on {settings.host} is taken by another program"
    return Finding("api", "wrong", said, "Stop that, or choose another: CLAW_PORT.")


async def check_open_knowledge(settings: Settings) -> list[Finding]:
    """Check that nobody reads the knowledge base without the token by way of a proxy that passes for this machine."""
    if not settings.knowledge_without_token or not settings.base_url:
        return []
    url = f"{settings.public_url.removesuffix('/v1')}/claw/knowledge/version"
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client, client.stream("GET", url) as reply:
            address = reply.extensions["network_stream"].get_extra_info("server_addr")[0]
    except (httpx.HTTPError, httpx.InvalidURL):
        return []
    return open_knowledge(url, reply.status_code, address)


def open_knowledge(url: str, status: int, address: str) -> list[Finding]:
    """Return what it means that a server at an address answers so who asks for knowledge without the token."""
    if status != httpx.codes.OK or ip_address(address.partition("%")[0]).is_loopback:
        return []
    said = f"{url} answers anybody: a proxy on the gateway's machine passes requests on without saying so"
    mend = "Let it send X-Forwarded-For, or set CLAW_KNOWLEDGE_WITHOUT_TOKEN=false."
    return [Finding("knowledge", "wrong", said, mend)]


async def check_model_servers(settings: Settings) -> list[Finding]:
    """Ask the model servers that are named in the environment, from this machine; not those that workers alone know."""
    found = []
    async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
        if settings.ollama_url:
            found.append(await _ask(client, "PLUGIN_OLLAMA_URL", f"{settings.ollama_url}/api/version", None))
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
