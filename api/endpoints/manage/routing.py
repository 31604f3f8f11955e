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


_UNKNOWN_VALUE: Final = re.compile(r"Invalid enum value (.+) - at (`\$\[\d+\]\.(task_class|source_tier)`)", re.DOTALL)


async def show_routing() -> Response:
    """Show every rule, as a bare array."""
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
    """Return what is wrong with a body; where a value is not known, with those that are."""
    match = _UNKNOWN_VALUE.fullmatch(text)
    if match is None:
        return text
    value, place, field = match.groups()
    # msgspec's text has the value that is wrong, and not those that there are.
    *others, last = get_args(get_type_hints(RuleChange)[field])
    return f"{field} must be {', '.join(others)} or {last}, not {value} - at {place}"
