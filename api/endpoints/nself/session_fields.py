"""The chat completions of nSelf's newer command line: OpenAI's, with fields of its own in `metadata`. Pure."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID, uuid5

import msgspec

from shared.errors import InvalidRequest

DEFAULT_MODEL: Final = "auto"
MOST_SESSION_CHARS: Final = 512
_OWN: Final = ("topic", "session_id", "resume", "no_memory")
"""Fields of `metadata` that are no model's matter."""
_NAMES: Final = UUID("6b3f5d0e-7c1a-5e0b-9d57-5e1f00c1a300")
"""Of the ids of sessions that are named by a text."""


class ClawChat(msgspec.Struct, frozen=True):
    """A request of that command line: OpenAI's body, and the session that it wants.

    `session` is its name, if it has one; it `resumes` where it wants the last one of its key.
    """

    body: bytes
    session: str | None
    resumes: bool


def from_claw_chat(raw: bytes) -> ClawChat:
    """Return what a body asks for: a model that is not given is `auto`, and what is not OpenAI's is taken out.

    Raises:
        InvalidRequest: it is no JSON object, or one of those fields is wrong; `param` names it.
    """
    try:
        fields = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise InvalidRequest(
            "We could not parse the JSON body of your request. The body must be a JSON object in UTF-8.",
            code="invalid_json",
        )
    given = fields.pop("metadata", None)
    metadata = _metadata(given)
    session, resumes = _session(metadata.pop("session_id", None)), _flag("resume", metadata.pop("resume", None))
    _flag("no_memory", metadata.get("no_memory"))  # only checked: it changes nothing here
    kept = {name: _text(value) for name, value in metadata.items() if name not in _OWN}
    fields["model"] = fields.get("model") or DEFAULT_MODEL
    if kept:
        fields["metadata"] = kept
    return ClawChat(msgspec.json.encode(fields), session, resumes and session is None)


def session_id_of(name: str, owner: str) -> str:
    """Return the id of the session that an owner names: a UUID is one, any other text has its own for each owner."""
    try:
        # `UUID` takes other forms too (32 digits, braces, urn:), which are names like any text here.
        return str(UUID(name)) if len(name) == 36 else str(uuid5(_NAMES, f"{owner} {name}"))
    except ValueError:
        return str(uuid5(_NAMES, f"{owner} {name}"))


def _metadata(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InvalidRequest("Invalid value for 'metadata': Expected `object`.", param="metadata", code="invalid_type")
    return dict(given)


def _session(given: Any) -> str | None:
    if given is None or given == "":
        return None
    if not isinstance(given, str) or len(given) > MOST_SESSION_CHARS:
        raise InvalidRequest(
            f"metadata.session_id must be a text of at most {MOST_SESSION_CHARS} characters.",
            param="metadata.session_id",
            code="invalid_value",
        )
    return given


def _flag(name: str, given: Any) -> bool:
    if given in (None, False, "false"):
        return False
    if given in (True, "true"):
        return True
    param = f"metadata.{name}"
    raise InvalidRequest(f"{param} must be true or false.", param=param, code="invalid_value")


def _text(value: Any) -> Any:
    """Return a value as OpenAI takes it, whose metadata are texts."""
    return ("true" if value else "false") if isinstance(value, bool) else value
