"""Reasoning that a client carries from turn to turn for models whose makers do not encrypt it. Pure.

Clients that store nothing ask for `reasoning.encrypted_content` and send it back: what is in it is their server's. Ours
is the text itself, so that a local model gets its earlier thoughts back; it is no secret, since the client gets it as a
text as well.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

_MARK: Final = "claw1."


def to_carried(text: str) -> str:
    """Return a text as `encrypted_content`."""
    return _MARK + base64.urlsafe_b64encode(text.encode("utf-8", "replace")).decode()


def is_carried(content: object) -> bool:
    """Return whether an `encrypted_content` is one of ours."""
    return isinstance(content, str) and content.startswith(_MARK)


def carried_text(content: str | None) -> str:
    """Return the text of an `encrypted_content`; none of one that is another server's."""
    if content is None or not content.startswith(_MARK):
        return ""
    try:
        return base64.b64decode(content[len(_MARK) :], altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
