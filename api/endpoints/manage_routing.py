"""/ai/routing/config: the tiers that `auto` may use for each class of tasks."""

from __future__ import annotations

from typing import Final

from quart import Blueprint, Response, current_app

from api.endpoints.management import Refused, body_as, managed, reply
from api.routing_table import RuleChange, WrongRules

routing_blueprint: Final = Blueprint("manage_routing", __name__)


@routing_blueprint.get("/ai/routing/config")
@managed
async def show_routing() -> Response:
    """Every rule, as a bare array."""
    return reply(await current_app.extensions["claw"].routing_table.rules())


@routing_blueprint.put("/ai/routing/config")
@managed
async def change_routing() -> Response:
    """Change the rules that are named; the reply has all of them."""
    changes = await body_as(list[RuleChange])
    try:
        return reply(await current_app.extensions["claw"].routing_table.change(changes))
    except WrongRules as error:
        raise Refused(400, str(error)) from None
