"""The headers by which a request asks for more than its own messages, read strictly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from shared.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

APP_HEADER: Final = "x-nself-app"
ADMIN_HEADER: Final = "x-nself-admin"
KNOWLEDGE_HEADER: Final = "x-nself-knowledge"
SESSION_HEADER: Final = "x-nself-session-id"
_NAMES: Final = {name.encode(): name for name in (APP_HEADER, ADMIN_HEADER, KNOWLEDGE_HEADER, SESSION_HEADER)}
_FLAGS: Final = {b"true": True, b"false": False}
_UUID: Final = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class PromptHeaders(msgspec.Struct, frozen=True):
    """The wishes of the x-nself headers. A session's id is in lower case."""

    app: bool = False
    admin: bool = False
    session_id: str | None = None
    knowledge: bool = False


NO_PROMPT_HEADERS: Final = PromptHeaders()


def read_headers(headers: Iterable[tuple[bytes, bytes]]) -> PromptHeaders:
    """Return what the headers of a request ask for.

    Args:
        headers: all of the request's, names in lower case, as ASGI has them.

    Raises:
        InvalidRequest: one of the four has a value that it cannot have, or is there twice; `param` names it.
    """
    given = [header for header in headers if header[0] in _NAMES]
    if not given:
        return NO_PROMPT_HEADERS
    found: dict[str, bytes] = {}
    for raw_name, value in given:
        name = _NAMES[raw_name]
        if name in found:
            raise InvalidRequest(f"{name} must be given once only.", param=name, code="invalid_value")
        found[name] = value.strip()
    if not _UUID.fullmatch(found.get(SESSION_HEADER, b"00000000-0000-0000-0000-000000000000")):
        raise InvalidRequest(f"{SESSION_HEADER} must be a UUID.", param=SESSION_HEADER, code="invalid_value")
    flags = {name: _flag(name, value) for name, value in found.items() if name != SESSION_HEADER}
    session_id = found[SESSION_HEADER].decode().lower() if SESSION_HEADER in found else None
    app, admin, knowledge = (flags.get(name, False) for name in (APP_HEADER, ADMIN_HEADER, KNOWLEDGE_HEADER))
    return PromptHeaders(app, admin, session_id, knowledge)


def _flag(name: str, value: bytes) -> bool:
    flag = _FLAGS.get(value)
    if flag is None:
        raise InvalidRequest(f"{name} must be true or false.", param=name, code="invalid_value")
    return flag
