"""The web UI's password: `CLAW_WEB_PASSWORD`, or one whose argon2 hash is in PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from shared.errors import InvalidRequest
from shared.process.threads import in_thread

if TYPE_CHECKING:
    from shared.postgres.ui.access import Access

LEAST_CHARS: Final = 8
MOST_CHARS: Final = 1024
"""NIST SP 800-63B, 3.1.1.2, for both."""
_hasher: Final = PasswordHasher()


class Passwords:
    """Checks passwords, one at a time: each takes 64 MiB and some tens of milliseconds of a core, off the loop.

    Args:
        configured: what the environment says that it is; None: what PostgreSQL has.
    """

    def __init__(self, configured: str | None) -> None:
        self._configured = configured
        self._turn = asyncio.Semaphore(1)

    @property
    def is_configured(self) -> bool:
        """Return whether the environment says what the password is."""
        return self._configured is not None

    @property
    def digest(self) -> bytes:
        """Return what is different for another configured password; it goes into what sessions are signed with."""
        return hashlib.sha256((self._configured or "").encode()).digest()

    async def is_right(self, given: str, access: Access) -> bool:
        """Return whether this is the password."""
        if len(given) > MOST_CHARS:
            return False
        if self._configured is not None:
            return hmac.compare_digest(given.encode("utf-8", "replace"), self._configured.encode())
        if access.password_hash is None:
            return False
        async with self._turn:
            return await in_thread(_verified, access.password_hash, given)

    async def hashed(self, password: str) -> str:
        """Return the hash of a new password.

        Raises:
            InvalidRequest: it is too short, or too long.
        """
        if not LEAST_CHARS <= len(password) <= MOST_CHARS:
            raise InvalidRequest(
                f"The password must have {LEAST_CHARS} to {MOST_CHARS:,} characters.", param="password"
            )
        async with self._turn:
            return await in_thread(_hasher.hash, password)


def _verified(password_hash: str, given: str) -> bool:
    try:
        return _hasher.verify(password_hash, given)
    except (VerifyMismatchError, InvalidHashError):
        return False
