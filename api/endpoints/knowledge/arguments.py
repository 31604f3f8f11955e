"""The query string of the knowledge endpoints, read strictly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quart import g, request

from shared.errors import InvalidRequest
from shared.postgres.knowledge.store import Scope

if TYPE_CHECKING:
    from collections.abc import Collection

MOST_QUESTION_CHARS: Final = 2_000
MOST_NAME_CHARS: Final = 1_000


def check_arguments(known: Collection[str]) -> None:
    """Check that the query string has these arguments only, each once.

    Raises:
        InvalidRequest: it has another one, or one twice; the text names it.
    """
    for name, values in request.args.lists():
        if name not in known:
            raise InvalidRequest(f"{name[:MOST_NAME_CHARS]!r} is no argument here; there are: {', '.join(known)}.")
        if len(values) > 1:
            raise InvalidRequest(f"{name} must be given once only.")


def text_argument(name: str, most_chars: int = MOST_NAME_CHARS) -> str | None:
    """Read a text of the query string; None where it is not given or empty.

    Raises:
        InvalidRequest: it is too long, or holds what no text holds.
    """
    text = request.args.get(name, "").strip()
    check_text(name, text, most_chars)
    return text or None


def check_text(name: str, text: str, most_chars: int) -> None:
    """Check a text that PostgreSQL is to hold or to look for.

    Raises:
        InvalidRequest: it is too long, or holds NUL or half a character.
    """
    if len(text) > most_chars:
        raise InvalidRequest(f"{name} must have at most {most_chars} characters.")
    if "\x00" in text or not _is_storable(text):
        raise InvalidRequest(f"{name} must hold no NUL and no lone surrogate.")


def _is_storable(text: str) -> bool:
    try:
        # One quick step: documents have megabytes.
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def scope_of_caller(category: str | None = None) -> Scope:
    """Return what the caller may read: without the internal token only what the gateway brings itself."""
    return Scope(category, is_built_in=bool(g.get("is_local_reader", False)))
