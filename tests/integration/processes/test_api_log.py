"""The log of an api process tells its life, and who was refused before there was a key to log it by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from tests.fleet import PATIENCE_S, Fleet, Process, chat, ready

if TYPE_CHECKING:
    from tests.conftest import Eventually


def logged(api: Process) -> list[str]:
    """Return its lines, without their times and the names of the loggers."""
    lines = [line.split(" ", 3) for line in api.log.read_text().splitlines()]
    return [f"{level} {message}" for _, level, _, message in lines]


async def test_a_log_tells_the_life_of_an_api_process(fleet: Fleet, eventually: Eventually) -> None:
    """Listening, what it waits for, ready, draining, stopped: in this order."""
    api = await fleet.api()
    await eventually(lambda: any("not ready: " in line and "models (missing)" in line for line in logged(api)))
    await fleet.worker()
    await ready(api, eventually)
    await eventually(lambda: "INFO ready" in logged(api))
    api.terminate()
    assert await api.process.wait() == 0
    lines = logged(api)
    order = [f"INFO listening on {api.url}", "INFO ready", "INFO stopped"]
    assert [line for line in lines if line in order] == order
    assert lines.index("INFO ready") < next(n for n, line in enumerate(lines) if "draining: " in line) < len(lines) - 1


async def test_what_has_no_key_is_logged_without_what_it_gave(fleet: Fleet, api: Process) -> None:
    """A wrong key, none, a wrong internal token, a wrong URL; not what has a row in the usage log, or is fine."""
    key = await fleet.key()
    wrong = "sk-nself-" + "0123456789abcdef" * 4
    async with httpx.AsyncClient(base_url=api.url, timeout=PATIENCE_S) as client:
        for given in (wrong, key):
            headers = {"authorization": f"Bearer {given}"}
            await client.post("/v1/chat/completions", json=chat(), headers=headers)
            await client.post("/v1/chat/completions", json={}, headers=headers)
        await client.get("/v1/models")
        await client.get("/claw/v1/usage", headers={"x-internal-token": wrong})
        await client.get("/nothing?key=" + wrong)
    lines = [line.partition(" request_id=") for line in logged(api) if "refused" in line]
    assert len({request_id for _, _, request_id in lines}) == len(lines)
    refused = [line for line, _, _ in lines]
    assert refused == [
        "INFO refused POST /v1/chat/completions from 127.0.0.1: 401 invalid_api_key",
        "INFO refused POST /v1/chat/completions from 127.0.0.1: 401 invalid_api_key",
        "INFO refused GET /v1/models from 127.0.0.1: 401 invalid_api_key",
        "INFO refused GET /claw/v1/usage from 127.0.0.1: 401 invalid_api_key",
        "INFO refused GET /nothing from 127.0.0.1: 404 not_found",
    ]
    assert "0123456789" not in api.log.read_text()
