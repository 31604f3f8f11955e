"""What a request hears of its client."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from api.server.cycle import RequestCycle
from api.server.head import RequestHead
from api.server.turns import Turns

if TYPE_CHECKING:
    from api.server.cycle import Connection


@pytest.mark.parametrize("is_early", [True, False])
async def test_who_asks_is_told_once_that_the_client_left(is_early: bool) -> None:  # noqa: FBT001 -- a case
    """Also where it left before anybody asked: the application begins later than its request."""
    told: list[bool] = []
    cycle = RequestCycle(cast("Connection", None), RequestHead("GET", b"/", [], 0, True, False), Turns())
    if is_early:
        cycle.disconnect()
    cycle.call_on_disconnect(lambda: told.append(True))
    cycle.disconnect()
    assert told == [True]
