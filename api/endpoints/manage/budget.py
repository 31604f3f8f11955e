"""/claw/v1/budget: what this month may cost, and what it has cost."""

from __future__ import annotations

from typing import Final

from quart import Blueprint, Response, current_app

from api.endpoints.manage.guard import managed, reply

budget_blueprint: Final = Blueprint("manage_budget", __name__)


@budget_blueprint.get("/claw/v1/budget")
@managed
async def show_budget() -> Response:
    """The month's budget, and those of the keys that have a limit or spent something."""
    return reply(await current_app.extensions["claw"].budget.state())
