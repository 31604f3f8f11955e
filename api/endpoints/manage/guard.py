"""What the endpoints of the management API share: the internal token, errors as {"error": "text"}, strict bodies."""

from __future__ import annotations

import logging
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from quart import Response, current_app, request

from api.admission.auth import is_internal
from shared.postgres.database import DatabaseUnavailable
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log: Final = logging.getLogger(__name__)

_Body = TypeVar("_Body")


class Refused(Exception):
    """A call that is answered with an error.

    Args:
        status: the HTTP status.
        text: what the caller is told.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def reply(body: object, status: int = 200) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(body), status=status, content_type="application/json")


def managed(handler: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    """Let only the internal token in, and answer every failure in the management API's format."""

    @wraps(handler)
    async def guarded(*arguments: Any, **named: Any) -> Response:
        try:
            if not is_internal(request.headers, current_app.extensions["claw"].settings):
                raise Refused(401, "A valid x-internal-token header is needed.")
            return await handler(*arguments, **named)
        except Refused as refused:
            return reply({"error": str(refused)}, refused.status)
        except DatabaseUnavailable:
            log.warning("%s %s: PostgreSQL does not answer", request.method, request.path)
            return reply({"error": "The database is unavailable. Try again."}, 503)
        except UNREACHABLE:
            log.warning("%s %s: Redis does not answer", request.method, request.path)
            return reply({"error": "Redis is unavailable. Try again."}, 503)

    return guarded


async def body_as(kind: type[_Body]) -> _Body:
    """The request's JSON body.

    Raises:
        Refused: 400, naming the field that is unknown, missing or wrong.
    """
    try:
        return msgspec.json.decode(await request.get_data() or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise Refused(400, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"The body is not JSON: {error}") from None


def integer_argument(name: str, default: int, *, low: int, high: int) -> int:
    """A number of the query string.

    Raises:
        Refused: 400, it is no number or out of range.
    """
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise Refused(400, f"{name} must be a whole number from {low} to {high}.")
    return int(text)


def flag_argument(name: str) -> bool:
    """A yes or no of the query string.

    Raises:
        Refused: 400, it is neither.
    """
    text = request.args.get(name, "false").lower()
    if text not in {"true", "false", "1", "0", ""}:
        raise Refused(400, f"{name} must be true or false.")
    return text in {"true", "1"}
