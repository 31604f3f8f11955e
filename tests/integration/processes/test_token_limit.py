"""Keys with a limit of tokens a minute, over two api processes and a worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, chat, ready
from tests.upstreams.numbered import MODEL, NumberedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually

LIMIT = 1000
EMBEDDING = "nomic-embed-text"
LEFT = "x-ratelimit-remaining-tokens"


class Stage(NamedTuple):
    """Two apis, and who manages them."""

    apis: tuple[str, str]
    client: httpx.AsyncClient

    async def key(self, **bounds: Any) -> dict[str, Any]:
        """Create a key."""
        reply = await self.client.post(f"{self.apis[0]}/claw/v1/api-keys", json={"name": "bounded", **bounds})
        assert reply.status_code == 201, reply.text
        made: dict[str, Any] = reply.json()
        return made

    async def ask(self, key: dict[str, Any], api: int = 0, **fields: Any) -> httpx.Response:
        """Ask a model."""
        headers = {"authorization": f"Bearer {key['key']}"}
        return await self.client.post(
            f"{self.apis[api]}/v1/chat/completions", json=chat(**fields), headers=headers, timeout=60
        )

    async def embed(self, key: dict[str, Any], text: str, api: int = 0) -> httpx.Response:
        """Ask for an embedding."""
        headers = {"authorization": f"Bearer {key['key']}"}
        body = {"model": EMBEDDING, "input": text}
        return await self.client.post(f"{self.apis[api]}/v1/embeddings", json=body, headers=headers, timeout=60)


@pytest.fixture
async def stage(fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually) -> AsyncIterator[Stage]:
    """Yield all of it; an answer has 20 tokens and a prompt of 3, by the model server's count."""
    upstream.tokens, upstream.models = 20, [MODEL, EMBEDDING]
    apis = (await fleet.api(), await fleet.api())
    await fleet.worker()
    for api in apis:
        await ready(api, eventually)
    async with httpx.AsyncClient(headers={"x-internal-token": INTERNAL_SECRET}, timeout=PATIENCE_S) as client:
        yield Stage((apis[0].url, apis[1].url), client)


def refusal(reply: httpx.Response) -> tuple[int, str, str]:
    """Return status, code and type."""
    error = reply.json()["error"]
    return reply.status_code, error["code"], error["type"]


async def test_a_limit_holds_at_both_apis_at_once(stage: Stage, upstream: NumberedUpstream) -> None:
    """Twenty at once, each of a quarter of the limit: four are admitted, whichever api takes them."""
    upstream.hold_at = 0
    key = await stage.key(tokens_per_minute=LIMIT * 100)
    asked = [asyncio.create_task(stage.ask(key, number % 2, max_tokens=LIMIT * 25 - 300)) for number in range(20)]
    for refused, reply in enumerate(asyncio.as_completed(asked), start=1):
        found = await reply
        assert refusal(found) == (429, "tokens_rate_limited", "tokens")
        assert found.headers["x-ratelimit-limit-tokens"] == str(LIMIT * 100)
        assert int(found.headers[LEFT]) < LIMIT * 25
        assert 1 <= int(found.headers["retry-after"]) <= 15
        if refused == 16:
            break
    upstream.resume.set()
    replies = await asyncio.gather(*asked)
    assert Counter(reply.status_code for reply in replies) == {200: 4, 429: 16}


async def test_what_was_not_used_is_given_back(stage: Stage, eventually: Eventually) -> None:
    """Sixteen answers that ask for nearly all of it and use 23 tokens each, one after another."""
    key = await stage.key(tokens_per_minute=LIMIT)

    answered = 0

    async def all_served() -> bool:
        nonlocal answered
        # A request may be closed a moment after the client has its last byte.
        reply = await stage.ask(key, answered % 2, max_tokens=LIMIT // 2)
        assert reply.status_code in {200, 429}
        answered += reply.status_code == 200
        return answered == 16

    await eventually(all_served)


async def test_what_was_used_beyond_is_taken(stage: Stage, upstream: NumberedUpstream, eventually: Eventually) -> None:
    """The next request waits for it, at the other api too."""
    upstream.tokens = 300
    key = await stage.key(tokens_per_minute=200)
    assert (await stage.ask(key, 0, max_tokens=20)).status_code == 200

    async def refused() -> bool:
        reply = await stage.ask(key, 1, max_tokens=1)
        return reply.status_code == 429 and reply.headers[LEFT] == "0" and int(reply.headers["retry-after"]) > 15

    await eventually(refused)


async def test_what_failed_costs_nothing(stage: Stage, upstream: NumberedUpstream, eventually: Eventually) -> None:
    """All that it had reserved is back."""
    upstream.failures = [400]
    key = await stage.key(tokens_per_minute=LIMIT)
    failed = await stage.ask(key, 0, max_tokens=LIMIT - 100)
    assert failed.status_code == 400
    assert int(failed.headers[LEFT]) <= 100

    async def served() -> bool:
        return (await stage.ask(key, 1, max_tokens=LIMIT - 100)).status_code == 200

    await eventually(served)


@pytest.mark.parametrize("api", [0, 1])
async def test_a_request_larger_than_the_limit_is_wrong(stage: Stage, upstream: NumberedUpstream, api: int) -> None:
    """It says so, and consumes nothing; without a bound of its own a request is as large as its prompt at the least."""
    key = await stage.key(tokens_per_minute=50)
    code = "request_exceeds_tokens_per_minute"
    for fields in (
        {"max_tokens": 51},
        {"max_tokens": 25, "n": 2},
        {"messages": [{"role": "user", "content": "a b " * 99}]},
    ):
        reply = await stage.ask(key, api, **fields)
        assert refusal(reply) == (400, code, "invalid_request_error")
        assert "50 tokens per minute" in reply.json()["error"]["message"]
    assert refusal(await stage.embed(key, "a b " * 99, api))[:2] == (400, code)
    assert not upstream.requests
    assert (await stage.ask(key, api)).status_code == 200


async def test_embeddings_count(stage: Stage, upstream: NumberedUpstream, eventually: Eventually) -> None:
    """By their prompt, and by the model server's word in the end."""
    upstream.tokens = 100
    key = await stage.key(tokens_per_minute=100)
    first = await stage.embed(key, "one word")
    assert first.status_code == 200, first.text
    assert 80 < int(first.headers[LEFT]) < 100

    async def refused() -> bool:
        reply = await stage.embed(key, "one word " * 30, 1)
        return reply.status_code == 429 and refusal(reply)[1] == "tokens_rate_limited"

    await eventually(refused)


async def test_the_limit_is_changed_and_taken_away(stage: Stage, eventually: Eventually) -> None:
    """At every api, and a key without one has no such headers."""
    key = await stage.key()
    assert key["tokens_per_minute"] is None
    assert LEFT not in (await stage.ask(key, 1)).headers
    path = f"{stage.apis[0]}/claw/v1/api-keys/{key['id']}"
    changed = await stage.client.patch(path, json={"tokens_per_minute": 50})
    assert changed.json()["tokens_per_minute"] == 50

    async def bounded() -> bool:
        return (await stage.ask(key, 1, max_tokens=51)).status_code == 400

    await eventually(bounded)
    for wrong in (0, -1, 60_000_001, "50", 1.5):
        refused = await stage.client.patch(path, json={"tokens_per_minute": wrong})
        assert refused.status_code == 400
        assert "tokens_per_minute" in refused.json()["error"]
    await stage.client.patch(path, json={"tokens_per_minute": None})

    async def free() -> bool:
        return (await stage.ask(key, 1, max_tokens=51)).status_code == 200

    await eventually(free)
