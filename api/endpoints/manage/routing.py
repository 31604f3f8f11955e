"""/ai/routing/config: the tiers that `auto` may use for each class of tasks."""

from __future__ import annotations

import re
from typing import Final, get_args, get_type_hints

from quart import Blueprint, Response, current_app

from api.endpoints.manage.guard import Refused, body_as, managed, reply
from api.routing.rules import RuleChange, WrongRules

routing_blueprint: Final = Blueprint("manage_routing", __name__)

_UNKNOWN_WORD: Final = re.compile(r"Invalid enum value (.+) - at (`\$\[\d+\]\.(task_class|source_tier)`)", re.DOTALL)


@routing_blueprint.get("/ai/routing/config")
@managed
async def show_routing() -> Response:
    """Every rule, as a bare array."""
    return reply(await current_app.extensions["claw"].routing_table.rules())


@routing_blueprint.put("/ai/routing/config")
@managed
async def change_routing() -> Response:
    """Change the rules that are named; the reply has all of them."""
    try:
        changes = await body_as(list[RuleChange])
    except Refused as refused:
        raise Refused(refused.status, _with_values(str(refused))) from None
    try:
        return reply(await current_app.extensions["claw"].routing_table.change(changes))
    except WrongRules as error:
        raise Refused(400, str(error)) from None


def _with_values(text: str) -> str:
    """What is wrong with a body; where a word is not known, with those that are."""
    match = _UNKNOWN_WORD.fullmatch(text)
    if match is None:
        return text
    word, place, field = match.groups()
    *words, last = get_args(get_type_hints(RuleChange)[field])
    return f"{field} must be {', '.join(words)} or {last}, not {word} - at {place}"
