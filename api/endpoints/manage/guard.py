"""The frame of the management API: the internal token, errors as {"error": "text"}, strict bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from quart import Blueprint, g, request

from api.admission.auth import is_internal
from api.endpoints.keys.admins import authenticate_admin
from api.endpoints.knowledge.access import is_local_reader
from api.endpoints.manage.audited import audited
from api.gateway import gateway
from api.http.body import read_body
from api.http.errors import plain_error
from api.http.query_names import check_query, watch_query
from api.http.refusal_log import known
from shared.errors import InvalidRequest, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from quart import Response

    _Url = tuple[str, str, Callable[..., Awaitable[Response]]]

PREFIXES: Final = ("/claw/", "/ai/")
"""Beginnings of the management API's URLs."""

_Body = TypeVar("_Body")


def guarded_blueprint(
    urls: Iterable[_Url],
    readable: Iterable[_Url] = (),
    of_admins: Iterable[_Url] = (),
    questions: Iterable[_Url] = (),
) -> Blueprint:
    """Return a blueprint that lets only the internal token in and answers every failure in the API's own form.

    Whatever is no GET leaves an entry in the audit log.

    Args:
        urls: method, URL and handler of each endpoint.
        readable: those that may be read from this machine without the token; they look at `g.is_local_reader`.
        of_admins: those that an admin's key opens too; they look at `g.admin`.
        questions: those that change nothing whatever their method is.
    """
    blueprint = Blueprint("management", __name__)
    readable, of_admins = tuple(readable), tuple(of_admins)
    open_endpoints, admins_endpoints = (
        {f"management.{handler.__name__}" for _, _, handler in some} for some in (readable, of_admins)
    )
    for method, url, handler in (*urls, *readable, *of_admins):
        blueprint.add_url_rule(url, view_func=handler if method == "GET" else audited(handler), methods=[method])
    for method, url, handler in questions:
        blueprint.add_url_rule(url, view_func=handler, methods=[method])

    @blueprint.before_request
    async def require_internal_token() -> None:
        if not is_internal(request.headers, gateway().settings):
            # Without a token at all: one that is wrong is a mistake that its sender wants to know of.
            if request.endpoint in open_endpoints and _needs_no_token():
                g.is_local_reader = True
                known()
                return
            if request.endpoint in admins_endpoints and "authorization" in request.headers:
                await authenticate_admin()
                known()
                watch_query()
                return
            raise Unauthenticated("A valid x-internal-token header is needed.")
        known()
        watch_query()

    @blueprint.after_request
    async def refuse_unknown_names(response: Response) -> Response:
        try:
            check_query(response)
        except InvalidRequest as error:
            return plain_error(error)
        return response

    @blueprint.errorhandler(Exception)
    async def answer_failure(error: Exception) -> Response:
        return plain_error(error)

    return blueprint


async def body_as(kind: type[_Body]) -> _Body:
    """Read the request's JSON body.

    Raises:
        InvalidRequest: a field is unknown, missing or wrong; the text names it.
    """
    try:
        raw = await read_body(request) or b"{}"
        found = msgspec.json.decode(raw, type=kind)
        g.change = msgspec.json.decode(raw)  # for the audit log
        return found
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not JSON: {error}") from None


def only_arguments(*names: str) -> None:
    """Check that the query string has no others than these, and each once.

    Raises:
        InvalidRequest: it has; the text names them.
    """
    unknown = sorted({name for name in request.args if name not in names})
    if unknown:
        known = f"; known are {', '.join(names)}" if names else ""
        raise InvalidRequest(f"unknown query parameters: {', '.join(unknown)[:200]}{known}")
    twice = sorted(name for name in names if len(request.args.getlist(name)) > 1)
    if twice:
        raise InvalidRequest(f"query parameters that are given twice: {', '.join(twice)}")


def _needs_no_token() -> bool:
    may = gateway().settings.knowledge_without_token
    return may and is_local_reader(request.remote_addr, request.headers.keys())


def integer_argument(name: str, default: int, *, low: int, high: int) -> int:
    """Read a number of the query string.

    Raises:
        InvalidRequest: it is no number or out of range.
    """
    text = request.args.get(name)
    if text is None:
        return default
    # isdigit alone takes digits that int does not, and int takes signs, spaces and underscores.
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise InvalidRequest(f"{name} must be a whole number from {low} to {high}.", param=name)
    return int(text)


def flag_argument(name: str) -> bool:
    """Read a yes or no of the query string.

    Raises:
        InvalidRequest: it is neither.
    """
    text = request.args.get(name, "false").lower()
    if text not in {"true", "false", "1", "0", ""}:
        raise InvalidRequest(f"{name} must be true or false.")
    return text in {"true", "1"}
