"""/claw/v1/budget: what this month may cost, and what it has cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.gateway import gateway
from api.http.body import json_response

if TYPE_CHECKING:
    from quart import Response


async def show_budget() -> Response:
    """Show the month's budget, and those of the keys that have a limit or spent something."""
    return json_response(await gateway().budget.state())
