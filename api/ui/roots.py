"""URLs without a page: the roots, which lead to one, and unknown ones."""

from __future__ import annotations

from quart import Response, request

from api.ui.forms import unaudited
from api.ui.links import url
from api.ui.navigation import PAGES
from api.ui.render import see_other
from shared.errors import NotFound


async def redirect_root() -> Response:
    """Lead a browser to the pages; a program gets the error of an unknown URL."""
    if "text/html" not in request.headers.get("accept", ""):
        raise NotFound(f"Unknown request URL: {request.method} {request.path}.")
    return see_other(url())


async def redirect_to_first() -> Response:
    """Lead to the first page."""
    return see_other(url(PAGES[0].name))


@unaudited
async def not_found(rest: str) -> Response:  # noqa: ARG001 -- of the URL
    """Answer an address below /ui that is no page."""
    raise NotFound("There is no such page.")
