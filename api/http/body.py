"""Bodies: requests read within their bounds, responses written as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from quart import Response
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from shared.errors import BodyTooLarge, InvalidRequest

if TYPE_CHECKING:
    from quart import Request

BODY_TIMEOUT_S: Final = 300


async def read_body(request: Request) -> bytes:
    """Read the whole body of a request.

    Raises:
        BodyTooLarge: it is over the limit.
        InvalidRequest: it did not arrive in time.
    """
    try:
        body: bytes = await request.get_data(cache=False, as_text=False)  # type: ignore[assignment]
        return body
    except RequestEntityTooLarge:
        limit_mib = (request.max_content_length or 0) // (1024 * 1024)
        raise BodyTooLarge(f"The request body is larger than {limit_mib} MiB.") from None
    except RequestTimeout:
        raise InvalidRequest(f"The request body did not arrive within {BODY_TIMEOUT_S} s.") from None


def json_response(body: object, status: int = 200) -> Response:
    """Return a response whose body is `body` as JSON."""
    return Response(msgspec.json.encode(body), status=status, content_type="application/json")
