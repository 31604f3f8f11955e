"""A backend that takes fewer than it is given: nobody is refused who can be served in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.fleet import ready
from tests.upstreams.numbered import MODEL, NumberedUpstream, words

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.fleet import Fleet

BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Count."}]}


async def together(client: httpx.AsyncClient, number: int) -> list[httpx.Response]:
    """Ask so many at once."""
    return await asyncio.gather(*(client.post("/v1/chat/completions", json=BODY) for _ in range(number)))


def answers(responses: list[httpx.Response], tokens: int) -> int:
    """Return how many have the whole answer."""
    whole = words(tokens)
    return sum(
        response.status_code == 200 and response.json()["choices"][0]["message"]["content"] == whole
        for response in responses
    )


async def test_what_a_backend_does_not_take_at_once_it_takes_in_turn(
    client: httpx.AsyncClient, upstream: NumberedUpstream
) -> None:
    """It takes four and says 429 to the others: twelve together are twelve answers, and so are the next twelve."""
    upstream.takes, upstream.pause_s = 4, 0.1
    for _ in range(2):
        assert answers(await together(client, 12), upstream.tokens) == 12
    assert upstream.most == 4
    assert len(upstream.requests) < 2 * 12 + 14, "what it takes is learned"


@pytest.mark.parametrize("status", [429, 503])
async def test_one_refusal_of_the_only_backend_refuses_nobody(
    status: int, client: httpx.AsyncClient, upstream: NumberedUpstream
) -> None:
    """Though its first token takes a while: those that come together wait, and are let through by its answers."""
    assert answers(await together(client, 1), upstream.tokens) == 1
    upstream.pause_s = 0.3
    upstream.failures = [status]
    assert answers(await together(client, 12), upstream.tokens) == 12
    upstream.failures = [status]
    assert answers(await together(client, 1), upstream.tokens) == 1, "nor the one that met it"
    assert answers(await together(client, 12), upstream.tokens) == 12


@pytest.mark.switched
@pytest.mark.parametrize("status", [429, 503])
async def test_a_refusal_that_does_not_end_is_a_refusal(
    status: int, client: httpx.AsyncClient, upstream: NumberedUpstream
) -> None:
    """Its status says all that there is to know: it was taken for a model that does not begin, two minutes later."""
    upstream.failures, upstream.trails_off = [status], True
    assert answers(await together(client, 3), upstream.tokens) == 3


async def test_who_is_refused_at_last_is_reported_so_in_its_own_words(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """After its patience, with a Retry-After that is no longer than the next try is away."""
    bounds = {"CLAW_QUEUE_TIMEOUT_S": "4"}
    api = await fleet.api(**bounds)
    await fleet.worker(**bounds)
    await fleet.recorder()
    await ready(api, eventually)
    upstream.failures = [429] * 1000
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as client:
        for response in await together(client, 3):
            assert response.status_code == 429
            assert int(response.headers["retry-after"]) <= 6


async def test_a_refused_credential_is_no_reason_to_come_back_in_ten_minutes(
    client: httpx.AsyncClient, upstream: NumberedUpstream
) -> None:
    """Each request has an error of its own, without a time that nobody knows; the next one is tried."""
    upstream.failures = [401, 401]
    for _ in range(2):
        (response,) = await together(client, 1)
        assert response.json()["error"]["code"] == "upstream_credential_rejected"
        assert "retry-after" not in response.headers
    assert answers(await together(client, 5), upstream.tokens) == 5
