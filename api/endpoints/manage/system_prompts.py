"""/claw/v1/system-prompts: list, create, change and remove the operator's own system prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from api.endpoints.manage.guard import body_as
from api.gateway import gateway
from api.http.body import json_response
from shared.errors import Conflict, InvalidRequest, NotFound
from shared.postgres.system_prompts import Content, NameTaken, PromptChange, PromptName, SystemPromptStore
from shared.postgres.transaction import after_commit
from shared.redis.names import NEWS_CHANNEL

if TYPE_CHECKING:
    from quart import Response

NEWS = b"prompts"


class NewPrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of a prompt to be created."""

    name: PromptName
    content: Content
    is_default: bool = False


async def list_prompts() -> Response:
    """List the prompts with their contents, in the order they were made."""
    return json_response({"prompts": await SystemPromptStore(gateway().database).list()})


async def create_prompt() -> Response:
    """Create a prompt. As a default it takes the place of the one before it."""
    wanted = await body_as(NewPrompt)
    _check(wanted)
    try:
        made = await SystemPromptStore(gateway().database).create(
            wanted.name.strip(), wanted.content, is_default=wanted.is_default
        )
    except NameTaken:
        raise Conflict("There is a system prompt of this name.") from None
    await after_commit(_announce)
    return json_response(made, 201)


async def change_prompt(prompt_id: str) -> Response:
    """Change a prompt everywhere; fields that are not given stay."""
    change = await body_as(PromptChange)
    if all(value is msgspec.UNSET for value in msgspec.structs.astuple(change)):
        raise InvalidRequest("name, content or is_default must be given")
    _check(change)
    if change.name is not msgspec.UNSET:
        change = msgspec.structs.replace(change, name=change.name.strip())
    try:
        prompt = await SystemPromptStore(gateway().database).update(_uuid(prompt_id), change)
    except NameTaken:
        raise Conflict("There is another system prompt of this name.") from None
    if prompt is None:
        raise NotFound("There is no system prompt with this id.")
    await after_commit(_announce)
    return json_response(prompt)


async def remove_prompt(prompt_id: str) -> Response:
    """Remove a prompt. Keys that had it as their own have the default from then on."""
    removed = _uuid(prompt_id)
    if not await SystemPromptStore(gateway().database).remove(removed):
        raise NotFound("There is no system prompt with this id.")
    await after_commit(_announce)
    return json_response({"id": str(removed), "removed": True})


async def _announce() -> None:
    """Let every process see the change, once it is committed, and this one before the reply."""
    await gateway().system_prompts.look()
    await gateway().redis.publish(NEWS_CHANNEL, NEWS)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("There is no system prompt with this id.") from None


def _check(given: NewPrompt | PromptChange) -> None:
    for field, text in (("name", given.name), ("content", given.content)):
        if text is not msgspec.UNSET and (not text.strip() or "\x00" in text):
            raise InvalidRequest(f"{field} must have visible characters and no NUL - at `$.{field}`")
