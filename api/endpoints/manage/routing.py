"""/ai/routing/config: the tiers that `auto` may use for each class of tasks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, get_args, get_type_hints

from api.endpoints.manage.guard import body_as
from api.gateway import gateway
from api.http.body import json_response
from api.routing.rules import RuleChange, WrongRules
from shared.errors import InvalidRequest

if TYPE_CHECKING:
    from quart import Response


_UNKNOWN_WORD: Final = re.compile(r"Invalid enum value (.+) - at (`\$\[\d+\]\.(task_class|source_tier)`)", re.DOTALL)


async def show_routing() -> Response:
    """Every rule, as a bare array."""
    return json_response(await gateway().routing_table.rules())


async def change_routing() -> Response:
    """Change the rules that are named; the reply has all of them."""
    try:
        changes = await body_as(list[RuleChange])
    except InvalidRequest as error:
        raise InvalidRequest(_with_values(error.message)) from None
    try:
        return json_response(await gateway().routing_table.change(changes))
    except WrongRules as error:
        raise InvalidRequest(str(error)) from None


def _with_values(text: str) -> str:
    """What is wrong with a body; where a word is not known, with those that are."""
    match = _UNKNOWN_WORD.fullmatch(text)
    if match is None:
        return text
    word, place, field = match.groups()
    *words, last = get_args(get_type_hints(RuleChange)[field])
    return f"{field} must be {', '.join(words)} or {last}, not {word} - at {place}"
