"""/ui/sign-in and /ui/sign-out."""

from __future__ import annotations

from typing import Final

from quart import Response, g, request

from api.gateway import gateway
from api.ui import flash
from api.ui.forms import check_post, form, unaudited
from api.ui.links import inner_path, url
from api.ui.render import render, see_other
from api.ui.sign_in import sessions
from api.ui.sign_in.tries import count_try, forget_tries
from api.ui.state import ROOT, Visit, keep_session, path_prefix, ui, visit
from shared.errors import GatewayError, Unauthenticated
from shared.postgres.audit import AuditLog
from shared.postgres.keys import KEY_START
from shared.postgres.ui.access import AccessStore

_WRONG: Final = "That is neither the password nor an active admin key."


async def show_sign_in() -> Response:
    """Show the form."""
    back = request.args.get("next", "")
    if visit().session.is_signed_in:
        return see_other(_back(back))
    return await _sign_in_page(back)


async def sign_in() -> Response:
    """Begin a session with an id of its own, if the password is right or the key is an admin's."""
    back = ""
    try:
        await check_post(visit())
        back = form().get("next", "")
        opened = await _opened(form().get("password", ""))
    except GatewayError as error:
        g.failure = f"{error.status} {error.code or error.type}"  # a line in the log
        return await _sign_in_page(back, error)
    # A new id: one that somebody else may have planted in this browser opens nothing.
    g.visit = Visit(opened, visit().signer)
    details = {"request_id": g.request_id, "address": request.remote_addr}
    # First: nobody is let in without an entry that says so.
    await AuditLog(gateway().database).add("sign_in", visit().actor, details)
    response = see_other(_back(back))
    keep_session(response, visit())
    return response


@unaudited
async def sign_out() -> Response:
    """End this session."""
    await sessions.end(gateway().redis, visit().session)
    return await _signed_out("You are signed out.")


async def sign_out_everywhere() -> Response:
    """End every session of everybody."""
    await AccessStore(gateway().database).end_sessions()
    return await _signed_out("Everybody is signed out, on every device.")


async def _opened(given: str) -> sessions.Session:
    """Return the session of who signs in.

    Keys cannot be guessed: they neither count as tries, nor does one that is right make room for more of them.

    Raises:
        Unauthenticated: what was given opens nothing.
        RateLimited: the address has tried too many passwords.
    """
    refusal: Unauthenticated | None = None
    if given.strip().startswith(KEY_START):
        try:
            return await sessions.session_of_key(gateway().keys, given.strip())
        except Unauthenticated as error:
            # A password may look like a key: whoever reuses one there.
            refusal = error
    redis, address, found = gateway().redis, request.remote_addr, ui()
    await count_try(redis, address)
    access = await found.access()
    if not found.passwords.is_configured and access.password_hash is None:
        none = "There is no password yet: `nself claw ui password` makes one. An admin key works, too."
        raise refusal or Unauthenticated(none)
    if not await found.passwords.is_right(given, access):
        raise refusal or Unauthenticated(_WRONG)
    await forget_tries(redis, address)
    return sessions.new_session(sessions.BY_PASSWORD)


async def _sign_in_page(back: str, error: GatewayError | None = None) -> Response:
    response = await render(
        "sign_in.html",
        status=200 if error is None else error.status,
        back=inner_path(back),
        error=error,
    )
    if error is not None and error.retry_after_s is not None:
        response.headers["retry-after"] = str(round(error.retry_after_s))
    keep_session(response, visit())
    return response


async def _signed_out(text: str) -> Response:
    found = ui()
    g.visit = Visit(sessions.new_session(), found.signer(await found.access()))
    flash.add(text)
    response = see_other(url("sign-in"))
    keep_session(response, visit())
    return response


def _back(path: str) -> str:
    inner = inner_path(path)
    return url() if inner == ROOT else path_prefix() + inner
