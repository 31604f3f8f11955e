"""A password for the web UI."""

from __future__ import annotations

import secrets
from typing import Final

_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without those that look like others."""
_GROUPS: Final = 4
_GROUP_CHARS: Final = 5


def new_password() -> str:
    """Return a password of 99 random bits that can be read out to somebody."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_GROUP_CHARS)) for _ in range(_GROUPS))
    return "-".join(groups)
