"""What a model server says of its failure reaches its operator: log, usage row, and a client with an admin's key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from tests.fleet import Fleet, Process, chat
from tests.streams import events, usage_rows
from tests.upstreams.numbered import MODEL, NumberedUpstream

if TYPE_CHECKING:
    from tests.conftest import Eventually

REASON = "CUDA out of memory on gpu 3"


async def _asked(api: Process, key: str, *, stream: bool = False) -> str:
    """Return the message of the error that a request ends with."""
    async with httpx.AsyncClient(base_url=api.url, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        reply = await client.post("/v1/chat/completions", json=chat(stream=stream))
    error = events(reply.text)[-1]["error"] if reply.status_code == 200 else reply.json()["error"]
    return str(error["message"])


def _logged(fleet: Fleet) -> list[str]:
    """Return the lines of the worker's log that say it, less their time."""
    lines = [line for log in fleet.directory.glob("local-*.log") for line in log.read_text().splitlines()]
    return [line.partition(" ")[2] for line in lines if REASON in line]


async def test_a_servers_own_words_reach_its_operator(
    fleet: Fleet, api: Process, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """With server, model, attempt and key, and without the secret in it; other clients are told that it failed."""
    upstream.failures, upstream.reason = [500, 500], f"{REASON}\nAuthorization: Bearer 0123456789abcdef"
    key, of_admin = await fleet.key(), await fleet.key(admin_allowed=True)
    assert await _asked(api, key) == "The model server answered with status 500."
    assert await _asked(api, of_admin) == (
        f"The model server answered with status 500. It said: {REASON} Authorization: ***"
    )
    rows = await usage_rows(fleet, eventually, 2)
    assert [row["error_reason"] for row in rows] == [f"{REASON} Authorization: ***"] * 2
    backend = upstream.url.removeprefix("http://")
    logged = _logged(fleet)
    assert len(logged) == 2
    for line, row in zip(logged, rows, strict=True):
        assert f"request {row['request_id'].hex}, attempt 1 at " in line
        assert backend.partition(":")[2] in line
        assert f"with model {MODEL} for key {row['key_id']}: Unavailable: " in line
        assert "0123456789" not in line


async def test_an_error_inside_a_stream_has_its_reason_too(
    fleet: Fleet, api: Process, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """After content: the worker closes the request then, and says why."""
    upstream.error_at = 5
    said = await _asked(api, await fleet.key(admin_allowed=True), stream=True)
    assert said.startswith("The model server reported an error in the middle of its answer. It said: ")
    (row,) = await usage_rows(fleet, eventually, 1)
    assert said.endswith(row["error_reason"])


async def test_a_server_that_is_gone_has_the_network_s_reason(
    fleet: Fleet, api: Process, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """It breaks off before its answer."""
    upstream.cut_at = 0
    await _asked(api, await fleet.key())
    (row,) = await usage_rows(fleet, eventually, 1)
    assert row["error_reason"]
