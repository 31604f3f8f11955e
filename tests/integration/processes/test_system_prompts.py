"""Which system prompt a model is told: the expert's, the key's own, the default, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx

from api.prompt.expert import expert
from api.prompt.system_prompts import SystemPrompts
from shared.postgres.database import Database
from shared.postgres.system_prompts import SystemPromptStore
from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, Process, chat, ready

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.upstreams.numbered import NumberedUpstream

TOKEN = {"x-internal-token": INTERNAL_SECRET}
APP = {"x-nself-app": "true"}
OWN = [{"role": "system", "content": "Client's."}, {"role": "user", "content": "count"}]


class Gateway:
    """An api process and what its model is told."""

    def __init__(self, api: Process, upstream: NumberedUpstream) -> None:
        self.client = httpx.AsyncClient(base_url=api.url, timeout=PATIENCE_S)
        self.upstream = upstream

    async def told(self, headers: dict[str, str], **fields: Any) -> str | None:
        """Return the instructions of a request; None where there are none."""
        reply = await self.client.post("/v1/chat/completions", json=chat(**fields), headers=headers)
        assert reply.status_code == 200, reply.text
        first = self.upstream.requests[-1]["messages"][0]
        return str(first["content"]) if first["role"] == "system" else None

    async def manage(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Call the management API."""
        reply = await self.client.request(method, f"/claw/v1/{path}", headers=TOKEN, json=body)
        assert reply.is_success, reply.text
        answer: dict[str, Any] = reply.json()
        return answer


async def test_the_narrowest_prompt_is_what_a_model_is_told(api: Process, upstream: NumberedUpstream) -> None:
    """Each alone, before the client's own; what is changed counts for the next request."""
    gateway = Gateway(api, upstream)
    async with gateway.client:
        plain = await gateway.manage("POST", "api-keys", name="plain")
        special = await gateway.manage("POST", "api-keys", name="special")
        keys = [{"authorization": f"Bearer {key['key']}"} for key in (plain, special)]
        assert [await gateway.told(key) for key in [*keys, TOKEN]] == [None, None, None]
        general = await gateway.manage("POST", "system-prompts", name="general", content="General.", is_default=True)
        own = await gateway.manage("POST", "system-prompts", name="own", content="Own.")
        await gateway.manage("PATCH", f"api-keys/{special['id']}", system_prompt_id=own["id"])
        assert [await gateway.told(key) for key in [*keys, TOKEN]] == ["General.", "Own.", "General."]
        assert await gateway.told(keys[1], messages=OWN) == "Own.\n\nClient's."
        assert [await gateway.told(key | APP) for key in keys] == [expert().text, expert().text]
        assert await gateway.told(keys[0] | {"x-nself-app": "false"}) == "General."
        await gateway.manage("PUT", f"system-prompts/{own['id']}", content="Changed.")
        assert await gateway.told(keys[1]) == "Changed."
        await gateway.manage("DELETE", f"system-prompts/{own['id']}")
        assert await gateway.told(keys[1]) == "General."
        await gateway.manage("PUT", f"system-prompts/{general['id']}", is_default=False)
        assert [await gateway.told(key) for key in keys] == [None, None]


async def test_another_api_process_has_the_prompts_too(
    fleet: Fleet, api: Process, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """By news, without a restart; and a key's new prompt at its first request there."""
    other_process = await fleet.api()
    await ready(other_process, eventually)
    here, other = Gateway(api, upstream), Gateway(other_process, upstream)
    async with here.client, other.client:
        key = await here.manage("POST", "api-keys", name="special")
        headers = {"authorization": f"Bearer {key['key']}"}
        assert await other.told(headers) is None
        own = await here.manage("POST", "system-prompts", name="own", content="Own.")
        await here.manage("PATCH", f"api-keys/{key['id']}", system_prompt_id=own["id"])

        async def is_told() -> bool:
            return await other.told(headers) == "Own."

        await eventually(is_told)


async def test_the_prompts_outlive_a_database_that_is_away(database_url: str) -> None:
    """What was last read holds; a key whose prompt is not known has the default, and waits for nobody."""
    async with Database(database_url) as database:
        prompts = SystemPrompts(database)
        assert await prompts.of_key(None) is None
        general = await SystemPromptStore(database).create("general", "General.", is_default=True)
        own = await SystemPromptStore(database).create("own", "Own.")
        await prompts.look()
    await prompts.look()
    told = [await prompts.of_key(prompt_id) for prompt_id in (None, general.id, own.id, str(UUID(int=1)))]
    assert [each and each.text for each in told] == ["General.", "General.", "Own.", "General."]
