"""Bodies: requests read within their bounds, responses written as JSON."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec
from quart import Response
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from api.http.intake import INTAKE
from shared.errors import BodyTooLarge, InvalidRequest

if TYPE_CHECKING:
    from quart import Request

    from api.http.intake import Intake

BODY_TIMEOUT_S: Final = 300


async def read_body(request: Request) -> bytes:
    """Read the whole body of a request. Of a large one nothing is read before this is called.

    Raises:
        BodyTooLarge: it is over the limit.
        Overloaded: the process holds as many bytes of bodies as it may.
        InvalidRequest: it did not arrive in time.
    """
    intake: Intake | None = request.scope.get(INTAKE)  # type: ignore[assignment]  # a key of ours
    try:
        if intake is None:
            return await _received(request)
        if request.max_content_length is not None and (request.content_length or 0) > request.max_content_length:
            raise RequestEntityTooLarge
        intake.admit()
        body = await _received(request)
        intake.arrived(len(body))
        return body
    except RequestEntityTooLarge:
        limit_mib = (request.max_content_length or 0) // (1024 * 1024)
        raise BodyTooLarge(f"The request body is larger than {limit_mib} MiB.") from None
    except RequestTimeout:
        raise InvalidRequest(f"The request body did not arrive within {BODY_TIMEOUT_S} s.") from None


async def _received(request: Request) -> bytes:
    try:
        # `get_data` does the same in a task of its own.
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body: bytes = await request.body
    except TimeoutError:
        raise RequestTimeout from None
    # Quart has given a copy, and would keep the original for as long as the answer takes.
    request.body.clear()
    return body


def json_response(body: object, status: int = 200) -> Response:
    """Return a response whose body is `body` as JSON."""
    return Response(msgspec.json.encode(body), status=status, content_type="application/json")
