"""Each look at a key's own requests has one row in the usage log, however it ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from quart import Quart
from redis.exceptions import ConnectionError as RedisConnectionError

from api.admission.auth import INTERNAL
from api.endpoints.own_requests import ENDPOINT, logged
from api.requests.context import RequestContext
from shared.errors import GatewayError, NotFound
from shared.ids import new_request_id

if TYPE_CHECKING:
    from api.accounting.usage_log import UsageLogWriter


@pytest.mark.parametrize(
    ("ends_with", "status"),
    [(None, 200), (NotFound("It is not open."), 404), (RedisConnectionError(), 503), (asyncio.CancelledError(), 499)],
)
async def test_it_has_one_row(ends_with: BaseException | None, status: int) -> None:
    """Also where Redis is away meanwhile, or the client has left."""
    rows: list[tuple[str, int]] = []
    log = SimpleNamespace(add=lambda record, _: rows.append((record.endpoint, record.status)))
    async with Quart(__name__).test_request_context("/v1/requests"):
        context = RequestContext(cast("UsageLogWriter", log), INTERNAL, ENDPOINT, new_request_id())
        with suppress(GatewayError, asyncio.CancelledError), logged(context):
            if ends_with is not None:
                raise ends_with
    assert rows == [(ENDPOINT, status)]
