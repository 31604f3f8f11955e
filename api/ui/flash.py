"""Messages for the next page about what was just done: in a signed cookie that is read once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec
from itsdangerous import BadSignature, URLSafeTimedSerializer
from quart import g, request

from api.ui.state import ROOT, is_secure, path_prefix, visit

if TYPE_CHECKING:
    from quart import Response

Kind = Literal["done", "failed"]
COOKIE: Final = "claw_ui_flash"
LIFE_S: Final = 60
MOST_CHARS: Final = 500


class Flash(NamedTuple):
    """A message."""

    kind: Kind
    text: str


def add(text: str, kind: Kind = "done") -> None:
    """Let the next page say something. It is the client's to keep: no secrets."""
    g.flash = Flash(kind, text[:MOST_CHARS])


def taken() -> list[Flash]:
    """Return what this page says."""
    g.is_flash_taken = True
    cookie = request.cookies.get(COOKIE)
    found = [g.flash] if "flash" in g else []
    g.pop("flash", None)
    if not cookie or "visit" not in g:
        return found
    try:
        # "replace": a cookie may have half of a surrogate pair, which is no UTF-8.
        kept = msgspec.convert(_serializer().loads(cookie.encode("utf-8", "replace"), max_age=LIFE_S), Flash)
    except (BadSignature, msgspec.ValidationError):
        return found
    return [kept, *found]


def keep(response: Response) -> None:
    """Let the client keep what is to be said, and forget what was."""
    path = path_prefix() + ROOT
    if "flash" in g:
        response.set_cookie(
            COOKIE, str(_serializer().dumps(list(g.flash))), max_age=LIFE_S, path=path, secure=is_secure(),
            httponly=True, samesite="Lax",
        )  # fmt: skip
    elif g.get("is_flash_taken") and COOKIE in request.cookies:
        response.delete_cookie(COOKIE, path=path, secure=is_secure(), httponly=True, samesite="Lax")


def _serializer() -> URLSafeTimedSerializer:
    found = visit()
    return URLSafeTimedSerializer(found.token, salt="flash", signer_kwargs={"digest_method": hashlib.sha256})
