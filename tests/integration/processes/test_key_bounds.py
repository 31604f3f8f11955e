"""Keys that may use some models or tiers only, or for some time: over two api processes, a local and a paid tier."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, chat, ready
from tests.upstreams.numbered import MODEL, NumberedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually

PAID = "gpt-6-luna"


class Stage(NamedTuple):
    """Two apis, and who manages them."""

    apis: tuple[str, str]
    client: httpx.AsyncClient
    local: NumberedUpstream
    openai: NumberedUpstream

    async def key(self, **bounds: Any) -> dict[str, Any]:
        """Create a key."""
        reply = await self.client.post(f"{self.apis[0]}/claw/v1/api-keys", json={"name": "bounded", **bounds})
        assert reply.status_code == 201, reply.text
        made: dict[str, Any] = reply.json()
        return made

    async def ask(self, key: dict[str, Any], model: str, api: int = 0, **further: str) -> httpx.Response:
        """Ask a model."""
        headers = {"authorization": f"Bearer {key['key']}", **{f"x-nself-{name}": further[name] for name in further}}
        return await self.client.post(
            f"{self.apis[api]}/v1/chat/completions", json=chat(model=model), headers=headers, timeout=60
        )

    async def listed(self, key: dict[str, Any], api: int = 0) -> set[str]:
        """Return the models that the key is shown, without aliases."""
        reply = await self.client.get(
            f"{self.apis[api]}/v1/models", headers={"authorization": f"Bearer {key['key']}"}, timeout=60
        )
        return {model["id"] for model in reply.json()["data"]} & {"auto", "local", MODEL, PAID}


@pytest.fixture
async def stage(fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually) -> AsyncIterator[Stage]:
    """Yield all of it."""
    async with NumberedUpstream(tokens=3) as openai:
        openai.models = [PAID]
        apis = (await fleet.api(), await fleet.api())
        await fleet.worker()
        await fleet.worker("paid", OPENAI_API_KEY="paid-key", OPENAI_BASE_URL=openai.url)
        async with httpx.AsyncClient(headers={"x-internal-token": INTERNAL_SECRET}, timeout=PATIENCE_S) as client:
            found = Stage((apis[0].url, apis[1].url), client, upstream, openai)
            for number, api in enumerate(apis):
                await ready(api, eventually)
                key = await found.key()

                async def all_there(key: dict[str, Any] = key, number: int = number) -> bool:
                    return await found.listed(key, number) == {"auto", "local", MODEL, PAID}

                await eventually(all_there)
            yield found


def refusal(reply: httpx.Response) -> tuple[int, str]:
    """Return status and code."""
    return reply.status_code, reply.json()["error"]["code"]


@pytest.mark.parametrize("api", [0, 1])
async def test_a_key_of_one_tier_never_leaves_it(stage: Stage, api: int) -> None:
    """Not by name, not by `auto`, and not where the tier fails."""
    key = await stage.key(allowed_tiers=["local"])
    served = await stage.ask(key, "auto", api)
    assert (served.status_code, served.headers["x-nself-tier"]) == (200, "local")
    assert refusal(await stage.ask(key, PAID, api)) == (403, "tier_not_allowed")
    assert await stage.listed(key, api) == {"auto", "local", MODEL}

    stage.local.failures = [503]
    assert (await stage.ask(key, "auto", api)).headers["x-nself-tier"] == "local"
    assert (len(stage.local.requests), len(stage.openai.requests)) == (3, 0)


@pytest.mark.parametrize("api", [0, 1])
async def test_a_key_of_some_models_gets_no_other(stage: Stage, api: int) -> None:
    """`auto` is served by them alone; a name that is allowed may be served by whatever it stands for."""
    key = await stage.key(allowed_models=["gpt-*"])
    served = await stage.ask(key, "auto", api)
    assert (served.status_code, served.headers["x-nself-model"]) == (200, PAID)
    assert refusal(await stage.ask(key, MODEL, api)) == (403, "model_not_allowed")
    assert refusal(await stage.ask(key, "local", api)) == (403, "model_not_allowed")
    assert await stage.listed(key, api) == {"auto", PAID}
    assert not stage.local.requests

    by_name = await stage.key(allowed_models=["auto"])
    assert (await stage.ask(by_name, "auto", api)).headers["x-nself-model"] == MODEL
    assert refusal(await stage.ask(by_name, MODEL, api)) == (403, "model_not_allowed")
    assert await stage.listed(by_name, api) == {"auto"}


async def test_a_change_holds_at_every_api(stage: Stage, eventually: Eventually) -> None:
    """Also where the key is cached as it was."""
    key = await stage.key()
    assert (await stage.ask(key, PAID, 1)).status_code == 200
    change = {"allowed_models": [MODEL], "allowed_tiers": ["local", "paid"]}
    changed = await stage.client.patch(f"{stage.apis[0]}/claw/v1/api-keys/{key['id']}", json=change)
    assert changed.json() | change == changed.json()

    async def refused() -> bool:
        return refusal(await stage.ask(key, PAID, 1)) == (403, "model_not_allowed")

    await eventually(refused)
    await stage.client.patch(f"{stage.apis[0]}/claw/v1/api-keys/{key['id']}", json={"allowed_models": []})

    async def served() -> bool:
        return (await stage.ask(key, PAID, 1)).status_code == 200

    await eventually(served)


async def test_a_key_ends_in_time_at_every_api(stage: Stage, eventually: Eventually) -> None:
    """Nobody has to announce it."""
    key = await stage.key(expires_at=(datetime.now(UTC) + timedelta(seconds=3)).isoformat())
    for api in (0, 1):

        async def ended(api: int = api) -> bool:
            reply = await stage.ask(key, "local", api)
            return reply.status_code == 401 and refusal(reply) == (401, "key_expired")

        await eventually(ended)
    assert "expired" in (await stage.ask(key, "local")).json()["error"]["message"]


@pytest.mark.parametrize(
    ("bounds", "named"),
    [
        ({"allowed_tiers": ["cloud"]}, "allowed_tiers"),
        ({"allowed_models": [""]}, "allowed_models"),
        ({"allowed_models": [" "]}, "allowed_models"),
        ({"allowed_models": "gpt-4o"}, "allowed_models"),
        ({"allowed_models": ["m"] * 101}, "allowed_models"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "2027-01-01T00:00:00"}, "expires_at"),
    ],
)
async def test_a_wrong_bound_is_refused_by_name(stage: Stage, bounds: dict[str, Any], named: str) -> None:
    """In the words of the management API."""
    reply = await stage.client.post(f"{stage.apis[0]}/claw/v1/api-keys", json={"name": "wrong", **bounds})

    assert reply.status_code == 400
    assert named in reply.json()["error"]


async def test_a_request_may_name_its_tier(stage: Stage) -> None:
    """`auto` goes there and nowhere else; a model of another tier is refused by the header's name."""
    key = await stage.key()
    for tier, served in (("local", MODEL), ("paid", PAID), ("api_key", PAID)):
        reply = await stage.ask(key, "auto", tier=tier)
        assert (reply.status_code, reply.json()["model"]) == (200, served)
        assert reply.headers["x-nself-tier"] == ("local" if served == MODEL else "paid")
    for model, tier, status in (
        ("local", "paid", 400),
        (PAID, "local", 400),
        ("auto", "x", 400),
        ("auto", "gemini", 503),
    ):
        error = (reply := await stage.ask(key, model, tier=tier)).json()["error"]
        assert (reply.status_code, "x-nself-tier" in error["message"]) == (status, True), error
        assert error["param"] == ("x-nself-tier" if status == 400 else None)
    bounded = await stage.key(allowed_tiers=["local"])
    assert (await stage.ask(bounded, "auto", tier="paid")).json()["error"]["code"] == "tier_not_allowed"
