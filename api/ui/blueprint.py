"""The frame of all pages: access, tokens of forms, headers, errors as pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quart import Blueprint, Response, g, request

from api.endpoints.manage.audited import AuditedAs, audited
from api.http.errors import from_exception, openai_error, plain_error
from api.http.refusal_log import known
from api.ui import flash
from api.ui.forms import check_post
from api.ui.links import url
from api.ui.render import render, see_other
from api.ui.state import EXTENSION, ROOT, UserInterface, is_secure, ui, visit
from api.ui.urls import FOR_ADMIN_KEYS, OPEN_URLS, UI_URLS
from shared.errors import ModelNotAllowed, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quart import Quart

    from api.ui.urls import Url
    from shared.settings import Settings


NAME: Final = "ui"
POLICY: Final = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: browsers then send `Origin: null` with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def add_ui(app: Quart, settings: Settings) -> None:
    """Let an app serve the web UI."""
    open_endpoints = frozenset(f"{NAME}.{handler.__name__}" for _, _, handler in OPEN_URLS)
    of_keys = frozenset(f"{NAME}.{handler.__name__}" for handler in FOR_ADMIN_KEYS)
    app.extensions[EXTENSION] = UserInterface(settings, open_endpoints, of_keys)
    app.register_blueprint(ui_blueprint(UI_URLS, OPEN_URLS))
    app.after_request(_protect)


def ui_blueprint(urls: Iterable[Url], open_urls: Iterable[Url]) -> Blueprint:
    """Return the blueprint of the pages. Whatever is no GET has a token, and leaves an entry in the audit log.

    Args:
        urls: method, URL and handler of each page and action.
        open_urls: those that need no sign-in; they are not audited.
    """
    blueprint = Blueprint(NAME, __name__)
    for method, rule, handler in open_urls:
        blueprint.add_url_rule(rule, view_func=handler, methods=[method])
    for method, rule, handler in urls:
        is_change = method != "GET" and not getattr(handler, "is_unaudited", False)
        view = audited(handler, BY_VISITOR) if is_change else handler
        blueprint.add_url_rule(rule, view_func=view, methods=[method])
    blueprint.before_request(_guard)
    blueprint.after_request(_add_headers)
    blueprint.register_error_handler(Exception, error_page)
    return blueprint


async def _guard() -> Response | None:
    """Let nobody see a page who has not signed in, and take no form that is not from a page of ours."""
    if request.endpoint in FREE_ENDPOINTS:
        return None
    found = g.visit = await ui().visit()
    if found.session.is_signed_in:
        known()
    elif request.endpoint not in ui().open_endpoints:
        return _sign_in_first()
    if request.method not in _READING and request.endpoint != SIGN_IN:
        await check_post(found)
        if found.session.key_id is not None and request.endpoint not in ui().endpoints_of_keys:
            raise ModelNotAllowed(
                "You signed in with an admin key, which manages keys and chats, and sees everything. "
                "To change anything else, sign in with the password.",
                code="password_needed",
            )
    return None


async def _protect(response: Response) -> Response:
    """Add the headers of pages to what has their path and no handler: a method that an address does not take."""
    is_ours = request.path == ROOT or request.path.startswith(ROOT + "/")
    return await _add_headers(response) if is_ours and request.blueprint != NAME else response


async def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("cache-control", "no-store")
    # Over plain HTTP browsers ignore this one, and complain.
    if is_secure():
        response.headers.setdefault("cross-origin-opener-policy", "same-origin")
    if "visit" in g:
        flash.keep(response)
    if request.method == "HEAD" and response.content_length is None:
        # A stream, of which nothing is sent: it would go on for as long as a page is open.
        response.response = response.data_body_class(b"")
    return response


_READING: Final = frozenset({"GET", "HEAD"})
"""Methods that change nothing; every GET has its HEAD, which checks of a site's health ask."""
SIGN_IN: Final = f"{NAME}.sign_in"
"""Checks its token itself: who was too slow gets the form again, not an error."""
FREE_ENDPOINTS: Final = frozenset({f"{NAME}.{name}" for name in ("send_asset", "redirect_root")})
"""Endpoints without a session."""


def _sign_in_first() -> Response:
    """Lead somebody who has not signed in to where that can be done, and back to the page afterwards."""
    if not _wants_page():
        raise Unauthenticated("Sign in first.")
    back = request.full_path.removesuffix("?") if request.method in _READING else None
    return see_other(url("sign-in", query={"next": None if back in {ROOT, ROOT + "/"} else back}))


def _wants_page() -> bool:
    return "text/html" in request.headers.get("accept", "*/*") or request.headers.get("accept") in {None, "*/*"}


async def error_page(error: Exception) -> Response:
    """Return what a failure looks like: a page, or JSON for a script of ours."""
    if not request.path.startswith(ROOT):
        return openai_error(error)
    if not _wants_page():
        return plain_error(error)
    found = from_exception(error)
    response = await render("error.html", status=found.status, error=found, request_id=g.get("request_id", ""))
    if found.retry_after_s is not None:
        response.headers["retry-after"] = str(max(1, round(found.retry_after_s)))
    return response


BY_VISITOR: Final = AuditedAs(lambda: visit().actor, error_page)
