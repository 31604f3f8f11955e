"""A client sees its place in the queue count down, and may look at and cancel its own requests."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, Process, chat, ready
from tests.streams import Reader
from tests.upstreams.numbered import MODEL, NumberedUpstream, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually

_PLACE = re.compile(r"^: queued position=([0-9]+) eta_s=[0-9]+$", re.MULTILINE)
_OWN_ID = "my own id/1".ljust(128, "x")
"""As long as OpenAI takes one."""


@pytest.fixture
async def api(fleet: Fleet, eventually: Eventually) -> Process:
    """Return an api whose heads do not wait, with a worker of one slot."""
    started = await fleet.api(CLAW_HEAD_WAIT_S="0.1")
    await fleet.worker(CLAW_LOCAL_OPENAI_SLOTS="1")
    await fleet.recorder()
    await ready(started, eventually)
    return started


@pytest.fixture
async def other(fleet: Fleet, api: Process) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client with another key."""
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as opened:
        yield opened


async def test_a_waiting_stream_is_told_its_place_as_it_changes(
    client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """By comments, which a client of OpenAI's ignores; what follows is the answer, whole."""
    upstream.hold_at = 0
    first = Reader(client)
    await eventually(lambda: upstream.held == 1)
    second = Reader(client)
    await eventually(lambda: ": queued position=1" in second.text)
    third = Reader(client)
    await eventually(lambda: ": queued position=2" in third.text)
    upstream.resume.set()
    await asyncio.gather(first.task, second.task, third.task)
    assert [reader.content for reader in (first, second, third)] == [words(20)] * 3
    places = [int(place) for place in _PLACE.findall(third.text)]
    assert places == sorted(places, reverse=True)
    assert "queued" not in first.text


async def test_a_key_may_have_streams_without_comments(
    client: httpx.AsyncClient, api: Process, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Neither while it waits nor behind that; it is switched off and on again at once."""
    async with httpx.AsyncClient(
        base_url=api.url, headers={"x-internal-token": INTERNAL_SECRET}, timeout=PATIENCE_S
    ) as operator:
        [key] = (await operator.get("/claw/v1/api-keys")).json()["keys"]
        assert key["stream_comments"] is True
        changed = await operator.patch(f"/claw/v1/api-keys/{key['id']}", json={"stream_comments": False})
        assert changed.json()["stream_comments"] is False
        upstream.hold_at = 0
        first, second = Reader(client), Reader(client)
        await eventually(lambda: upstream.held == 1)

        async def places() -> bool:
            found = (await client.get("/v1/requests")).json()["data"]
            states = [(await client.get(f"/v1/requests/{each['id']}")).json() for each in found]
            return any(state.get("queue_position") for state in states)

        await eventually(places, every_s=1.5)
        await eventually(lambda: second.status == first.status == 200)
        upstream.resume.set()
        await asyncio.gather(first.task, second.task)
        assert [reader.content for reader in (first, second)] == [words(20)] * 2
        lines = [line for line in (first.text + second.text).splitlines() if line]
        assert all(line.startswith("data: ") for line in lines)
        await operator.patch(f"/claw/v1/api-keys/{key['id']}", json={"stream_comments": True})


async def test_a_key_sees_and_cancels_its_own_requests_alone(
    client: httpx.AsyncClient, other: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """By the request's id, or by the one that the client gave it; for another key it is not there."""
    upstream.hold_at = 0
    held = Reader(client)
    await eventually(lambda: upstream.held == 1)
    named = {"x-client-request-id": _OWN_ID}
    waiting = asyncio.ensure_future(client.post("/v1/chat/completions", json=chat(), headers=named))

    async def both() -> list[dict[str, object]]:
        data: list[dict[str, object]] = (await client.get("/v1/requests")).json()["data"]
        return data if len(data) == 2 else []

    _, second = await eventually(both, every_s=1.5)
    assert (second["object"], second["requested_model"], second["stream"]) == ("request", MODEL, False)
    for name in (second["id"], _OWN_ID.replace("/", "%2F")):
        assert (await other.get(f"/v1/requests/{name}")).status_code == 404
        assert (await other.delete(f"/v1/requests/{name}")).status_code == 404
    assert (await other.get("/v1/requests")).json()["data"] == []
    shown = (await client.get("/v1/requests/" + _OWN_ID.replace("/", "%2F"))).json()
    assert (shown["id"], shown["status"], shown["queue_position"]) == (second["id"], "waiting", 1)
    assert (await client.delete(f"/v1/requests/{second['id']}")).json()["cancelled"] is True
    answer = await waiting
    assert (answer.status_code, answer.json()["error"]["code"]) == (499, "request_cancelled")
    assert "its owner" in answer.json()["error"]["message"]
    assert not held.task.done()
    upstream.resume.set()
    await held.task
    assert held.content == words(20)


async def test_looks_at_requests_have_a_limit_of_their_own(client: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    """A list costs what ten looks at one request cost; other keys, and completions of this one, are not held up."""
    answers = [await client.get("/v1/requests") for _ in range(61)]
    assert [answer.status_code for answer in answers] == [200] * 60 + [429]
    refused = answers[-1]
    assert (refused.json()["error"]["code"], int(refused.headers["retry-after"]) <= 60) == ("too_many_looks", True)
    assert (await client.get("/v1/requests/unknown")).status_code == 429
    assert (await other.get("/v1/requests")).status_code == 200
    assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200


@pytest.mark.parametrize("name", ["x" * 129, "a\tb", "\u00e9".encode()])
async def test_an_id_of_the_clients_that_cannot_be_one_is_refused(client: httpx.AsyncClient, name: str | bytes) -> None:
    """Before anything is consumed; the error names the header."""
    headers = {"x-client-request-id": name if isinstance(name, bytes) else name.encode()}
    answer = await client.post("/v1/chat/completions", json=chat(), headers=headers)  # type: ignore[arg-type]  # httpx's own types of headers
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-client-request-id")
