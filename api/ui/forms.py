"""Forms that pages send: read within their bounds, and each with the token of its session."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import parse_qsl

from quart import g, request
from werkzeug.datastructures import MultiDict

from api.admission.new_secrets import REPEATED_S
from api.gateway import gateway
from api.http.body import read_body
from api.http.intake import INTAKE
from shared.errors import BodyTooLarge, InvalidRequest, ModelNotAllowed
from shared.redis.names import ui_form_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.http.intake import Intake
    from api.ui.state import Visit

_Handler = TypeVar("_Handler", bound="Callable[..., Any]")

MOST_FORM_BYTES: Final = 64 * 1024
MOST_OPEN_FORM_BYTES: Final = 8 * 1024
"""Of who has not signed in."""
MOST_FIELDS: Final = 500
SENT_S: Final = 24 * 3600
"""For how long a form that was sent is known."""
_ID: Final = re.compile(r"[0-9a-f]{32}")
TOKEN_FIELD: Final = "csrf"  # noqa: S105 -- a field's name
TOKEN_HEADER: Final = "x-csrf-token"  # noqa: S105 -- a header's name


class WrongToken(ModelNotAllowed):
    """A form is not from a page of this session: another site's, or one that was open when the session ended."""

    code = "wrong_form_token"

    def __init__(self) -> None:
        super().__init__("This form was open for too long, or is not from here. Load the page again and repeat it.")


async def check_post(found: Visit) -> None:
    """Check that what is posted is from a page of this session.

    What a script sends as JSON has the token in a header; its body is not read here.

    Raises:
        WrongToken: it is not.
        InvalidRequest: it is no form.
        BodyTooLarge: it is larger than a form is.
    """
    given = request.headers.get(TOKEN_HEADER)
    if given is None or _is_form():
        g.form = await _read_form(found)
    if given is None:
        given = form().get(TOKEN_FIELD, "")
    if not found.signer.is_token(found.session, given):
        raise WrongToken


def unaudited(handler: _Handler) -> _Handler:
    """Declare that a handler of a POST changes nothing that the audit log is about."""
    handler.is_unaudited = True  # type: ignore[attr-defined]  # read by the blueprint alone
    return handler


def form() -> MultiDict[str, str]:
    """Return the fields of the form that was posted."""
    return cast("MultiDict[str, str]", g.get("form", MultiDict()))


async def is_repeated(once: str) -> bool:
    """Return whether a form that shall have its effect once had it, and longer ago than a second press takes.

    Raises:
        InvalidRequest: the form has no id.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    if not _ID.fullmatch(once):
        raise InvalidRequest("The form has no id of its own.", param="once")
    sent_at = await gateway().redis.get(ui_form_key(once))
    # Until then a second press gets the same secret again; half, since that takes a while itself.
    return sent_at is not None and time.time() - float(sent_at) > REPEATED_S / 2


async def keep_sent(once: str) -> None:
    """Note that a form has had its effect.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    # NX: what counts is when it was first sent.
    await gateway().redis.set(ui_form_key(once), f"{time.time():.0f}", ex=SENT_S, nx=True)


def _is_form() -> bool:
    return request.mimetype in {"application/x-www-form-urlencoded", "multipart/form-data"}


async def _read_form(found: Visit) -> MultiDict[str, str]:
    if request.mimetype == "multipart/form-data" and found.session.is_signed_in:
        # Files: the bound is that of any body.
        intake: Intake | None = request.scope.get(INTAKE)  # type: ignore[assignment]  # of the server's
        if intake is not None:
            intake.admit()
        return MultiDict(await request.form)
    if request.mimetype != "application/x-www-form-urlencoded":
        raise InvalidRequest("A form was expected.")
    bound = MOST_FORM_BYTES if found.session.is_signed_in else MOST_OPEN_FORM_BYTES
    # Before it is read; what does not say its length is not from a browser.
    if request.content_length is None or request.content_length > bound:
        raise BodyTooLarge(f"The form is larger than {bound // 1024} KiB.")
    raw = await read_body(request)
    try:
        pairs = parse_qsl(
            raw.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict", separator="&"
        )
    except ValueError:
        raise InvalidRequest("The form cannot be read.") from None
    return MultiDict(pairs)
