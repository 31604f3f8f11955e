"""The live page, its stream, and its actions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, cast

from quart import Response, current_app, g, request

from api.endpoints.queue import backends, workers
from api.endpoints.queue.cancelling import cancel
from api.endpoints.queue.requests import request_hex, requested_page
from api.gateway import gateway
from api.ui import flash
from api.ui.forms import form
from api.ui.links import url
from api.ui.navigation import LIVE
from api.ui.pages.live.reader import LiveReader
from api.ui.pages.live.snapshot import BLANK
from api.ui.pages.live.stream import live_events
from api.ui.render import render, see_other
from api.ui.sign_in import sessions
from api.ui.state import ui
from shared.redis.client import UNREACHABLE
from shared.redis.names import QUEUES, place_of_queue
from shared.relay import CancelReason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

EXTENSION: Final = "claw.ui.live"
PAGE_ROWS: Final = 50
MOST_PAINTED: Final = 25
"""Requests that are in the page itself, which is light so; the stream brings the others."""
# `x-accel-buffering` is of nginx, which would gather events otherwise.
_HEADERS: Final = {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"}


async def show_live() -> Response:
    """Show what waits and runs now; a script keeps it so."""
    try:
        snapshot = await _reader().now()
    except UNREACHABLE:
        snapshot = None
    return await render(
        "live/live.html", LIVE, snapshot=snapshot, blank=BLANK, now_ms=time.time() * 1000, most=MOST_PAINTED
    )


async def show_requests() -> Response:
    """Show the requests that wait and run, page by page, as they are now."""
    found, next_cursor = await requested_page(PAGE_ROWS)
    state = gateway()
    names = {key.id: key.name for key in await state.keys.list(include_revoked=True)}
    known = [place_of_queue(each.decode()) for each in await state.redis.smembers(QUEUES)]  # type: ignore[misc]  # redis-py: or awaitable
    given = {name: request.args.get(name, "") for name in ("backend", "state")}
    return await render(
        "live/requests.html",
        LIVE,
        requests=[{**each, "key": names.get(each["key_id"], each["key_id"])} for each in found],
        backends=[("", "Any"), *((each, each) for each in sorted({*known, given["backend"]} - {""}))],
        given=given,
        next_cursor=next_cursor,
        is_first=not request.args.get("cursor"),
    )


async def stream_live() -> Response:
    """Send what changes, for as long as the page is open and its session holds."""
    reader = _reader()
    reader.check_room()
    events = live_events(reader, _session_check())
    response = Response(events, content_type="text/event-stream; charset=utf-8", headers=_HEADERS)
    # Quart would cut the stream after RESPONSE_TIMEOUT, without an error.
    response.timeout = None
    return response


async def pause_backend() -> Response:
    place = _form_text("backend")
    await backends.pause(gateway().redis, place)
    return _back(f"{place} is paused: what runs goes on, what waits moves on where another can serve it.")


async def resume_backend() -> Response:
    place = _form_text("backend")
    await backends.resume(gateway().redis, gateway().capacity, place)
    return _back(f"{place} takes requests again.")


async def cancel_request(request_id: str) -> Response:
    """Cancel a request that waits or runs."""
    identity = request_hex(request_id)
    ended = await cancel(gateway().redis, identity, CancelReason.BY_OPERATOR)
    is_over = ended["cancelled"]
    return _back(f"The request …{identity[-8:]} {'was cancelled' if is_over else 'is about to end'}.")


async def drain_worker(worker_id: str) -> Response:
    """Let a worker take nothing more and end when what it runs has ended."""
    await workers.drain(gateway().redis, worker_id)
    return _back(f"The worker {worker_id[:8]} drains: it ends when what it runs has ended.")


def _form_text(name: str) -> str:
    text = form().get(name, "")
    g.change = {name: text}
    return text


def _back(text: str) -> Response:
    """Return to the page, which says what was done; a script of ours stays there and says it itself."""
    if "text/html" not in request.headers.get("accept", ""):
        return Response(text, content_type="text/plain; charset=utf-8")
    flash.add(text)
    return see_other(url("live"))


def _reader() -> LiveReader:
    """Return the reader of this process."""
    found = current_app.extensions.get(EXTENSION)
    if found is None:
        found = current_app.extensions[EXTENSION] = LiveReader(gateway())
    return cast("LiveReader", found)


def _session_check() -> Callable[[], Awaitable[bool]]:
    """Return what tells whether the session that asks now still holds, also after this request's context is gone."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 -- Quart has no public name for it
    interface, state, cookie = ui(), gateway(), request.cookies.get(ui().cookie_name)

    async def is_signed_in() -> bool:
        async with app.app_context():
            signer = interface.signer(await interface.access())
            session = signer.session(cookie)
            return (
                session is not None
                and session.is_signed_in
                and await sessions.is_open(state.redis, state.keys, session)
            )

    return is_signed_in
