"""The management API of the operator's own system prompts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from shared.postgres.system_prompts import MAX_CONTENT_CHARS
from shared.settings import Settings
from tests.integration.api.manage.gateway_stub import management_app

if TYPE_CHECKING:
    from quart.typing import TestClientProtocol
    from redis.asyncio import Redis

    from shared.postgres.database import Database

TOKEN = {"x-internal-token": "geheim"}
PROMPTS = "/claw/v1/system-prompts"
KEYS = "/claw/v1/api-keys"
NOBODY = UUID(int=1)


@pytest.fixture
def client(database: Database, redis: Redis) -> TestClientProtocol:
    """Return a client of the management API."""
    settings = Settings(data_dir=Path("nowhere"), internal_secret="geheim")
    opened: TestClientProtocol = management_app(settings, database, redis).test_client()
    return opened


async def ask(client: TestClientProtocol, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Return the status and the JSON of a call."""
    response = await client.open(path, method=method, json=body, headers=TOKEN)
    return response.status_code, await response.get_json()


async def prompts(client: TestClientProtocol) -> list[dict[str, Any]]:
    """Return all prompts."""
    _, answer = await ask(client, "GET", PROMPTS)
    found: list[dict[str, Any]] = answer["prompts"]
    return found


async def test_a_prompt_is_created_changed_and_removed(client: TestClientProtocol) -> None:
    """In the shapes that nSelf's clients read."""
    status, made = await ask(client, "POST", PROMPTS, {"name": " terse ", "content": "Be brief.", "is_default": False})
    assert (status, made["name"], made["content"], made["is_default"]) == (201, "terse", "Be brief.", False)
    assert set(made) == {"id", "name", "content", "is_default", "created_at", "updated_at"}
    assert await prompts(client) == [made]
    status, changed = await ask(client, "PUT", f"{PROMPTS}/{made['id']}", {"content": "Be very brief."})
    assert (status, changed["name"], changed["content"]) == (200, "terse", "Be very brief.")
    assert changed["updated_at"] > made["updated_at"]
    assert (await ask(client, "DELETE", f"{PROMPTS}/{made['id']}"))[0] == 200
    assert await prompts(client) == []


async def test_there_is_one_default_at_the_most(client: TestClientProtocol) -> None:
    """The last one that is made the default, by whichever call, also where several are at once."""
    for name in ("a", "b", "c"):
        assert (await ask(client, "POST", PROMPTS, {"name": name, "content": name, "is_default": True}))[0] == 201
    made = await prompts(client)
    assert [each["is_default"] for each in made] == [False, False, True]
    await asyncio.gather(*(ask(client, "PUT", f"{PROMPTS}/{each['id']}", {"is_default": True}) for each in made))
    assert sum(each["is_default"] for each in await prompts(client)) == 1
    for each in made:
        await ask(client, "PUT", f"{PROMPTS}/{each['id']}", {"is_default": False})
    assert not any(each["is_default"] for each in await prompts(client))


async def test_a_name_is_one_prompts(client: TestClientProtocol) -> None:
    """So that the command line can call it by that; a refused default leaves the one that there was."""
    _, first = await ask(client, "POST", PROMPTS, {"name": "a", "content": "x", "is_default": True})
    _, second = await ask(client, "POST", PROMPTS, {"name": "b", "content": "x"})
    assert (await ask(client, "POST", PROMPTS, {"name": "a", "content": "y", "is_default": True}))[0] == 409
    renamed = await ask(client, "PUT", f"{PROMPTS}/{second['id']}", {"name": "a", "is_default": True})
    assert renamed[0] == 409
    assert [(each["id"], each["is_default"]) for each in await prompts(client)] == [
        (first["id"], True),
        (second["id"], False),
    ]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("prompt", [str(NOBODY), "terse", "%00"])
async def test_an_unknown_prompt_is_404(client: TestClientProtocol, method: str, prompt: str) -> None:
    """Whatever it is called."""
    status, answer = await ask(client, method, f"{PROMPTS}/{prompt}", {"is_default": True})
    assert (status, isinstance(answer["error"], str)) == (404, True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": None}, "name"),
        ({"content": ""}, "content"),
        ({"content": "\n"}, "content"),
        ({"content": "a\x00b"}, "content"),
        ({"content": "x" * (MAX_CONTENT_CHARS + 1)}, "content"),
        ({"content": 5}, "content"),
        ({"is_default": "yes"}, "is_default"),
        ({"text": "x"}, "text"),
    ],
)
async def test_a_wrong_field_is_refused_by_name(client: TestClientProtocol, change: dict[str, Any], named: str) -> None:
    """When it is made and when it is changed; nothing is changed."""
    _, made = await ask(client, "POST", PROMPTS, {"name": "a", "content": "x"})
    for status, answer in (
        await ask(client, "POST", PROMPTS, {"name": "b", "content": "x", **change}),
        await ask(client, "PUT", f"{PROMPTS}/{made['id']}", change),
    ):
        assert status == 400
        assert named in answer["error"]
    assert await prompts(client) == [made]


async def test_a_key_has_a_prompt_of_its_own(client: TestClientProtocol) -> None:
    """Given when it is made or later, taken away, and gone with the prompt."""
    _, made = await ask(client, "POST", PROMPTS, {"name": "a", "content": "x"})
    _, with_it = await ask(client, "POST", KEYS, {"name": "k", "system_prompt_id": made["id"]})
    _, without = await ask(client, "POST", KEYS, {"name": "l"})
    assert (with_it["system_prompt_id"], without["system_prompt_id"]) == (made["id"], None)
    _, later = await ask(client, "PATCH", f"{KEYS}/{without['id']}", {"system_prompt_id": made["id"]})
    assert later["system_prompt_id"] == made["id"]
    _, taken = await ask(client, "PATCH", f"{KEYS}/{with_it['id']}", {"system_prompt_id": None})
    assert taken["system_prompt_id"] is None
    await ask(client, "DELETE", f"{PROMPTS}/{made['id']}")
    _, listed = await ask(client, "GET", KEYS)
    assert [key["system_prompt_id"] for key in listed["keys"]] == [None, None]


async def test_a_key_cannot_have_a_prompt_that_there_is_not(client: TestClientProtocol) -> None:
    """400 that names the field; no key is made or changed."""
    assert (await ask(client, "POST", KEYS, {"name": "k", "system_prompt_id": str(NOBODY)}))[0] == 400
    _, made = await ask(client, "POST", KEYS, {"name": "k"})
    for wrong in (str(NOBODY), "terse", 5):
        status, answer = await ask(client, "PATCH", f"{KEYS}/{made['id']}", {"system_prompt_id": wrong})
        assert (status, "system_prompt_id" in answer["error"]) == (400, True)
    _, listed = await ask(client, "GET", KEYS)
    assert [(key["id"], key["system_prompt_id"]) for key in listed["keys"]] == [(made["id"], None)]
