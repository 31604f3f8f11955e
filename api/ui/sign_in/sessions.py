"""Sessions in signed cookies.

A cookie has a session's id and who has it. What it is signed with is made of the internal secret, which all api
processes share, of a generation in PostgreSQL and of the configured password: a new one of either ends every session.
One session is ended by a key in Redis that stands for as long as its cookie would be valid.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec
from itsdangerous import BadSignature, URLSafeTimedSerializer

from shared.errors import Unauthenticated
from shared.postgres.keys import hash_secret
from shared.redis.names import ui_ended_key

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.postgres.keys import KeyStore

LIFE_S: Final = 7 * 24 * 3600
NOBODY: Final = ""
"""The subject of a session before somebody has signed in: it only carries the token of the form."""
BY_PASSWORD: Final = "password"  # noqa: S105 -- how somebody signed in, not what with
_PURPOSE: Final = b"sessions of the web UI\0"


class Session(msgspec.Struct, frozen=True):
    """A session: its id, and who has it, `NOBODY`, `BY_PASSWORD` or the id of an admin key.

    `secret_hash` is of the secret of that key that opened it, in hex: a rotation ends what a leaked one had opened.
    """

    id: str
    who: str
    secret_hash: str = ""

    @property
    def is_signed_in(self) -> bool:
        return self.who != NOBODY

    @property
    def key_id(self) -> str | None:
        """Return the admin key it was opened with; None where that was the password."""
        return None if self.who in {NOBODY, BY_PASSWORD} else self.who


def new_session(who: str = NOBODY, secret_hash: bytes = b"") -> Session:
    """Return a session with an id that nobody knows yet."""
    return Session(secrets.token_hex(16), who, secret_hash.hex())


class Signer:
    """Signs and reads cookies of one generation.

    Args:
        internal_secret: of the installation.
        generation: of its sessions.
        password_digest: of the configured password.
    """

    def __init__(self, internal_secret: str, generation: str, password_digest: bytes) -> None:
        self._key = hmac.digest(
            internal_secret.encode(), _PURPOSE + generation.encode() + b"\0" + password_digest, "sha256"
        )
        # The digest of itsdangerous is SHA-1 by itself.
        self._serializer = URLSafeTimedSerializer(
            self._key, salt="session", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def cookie(self, session: Session) -> str:
        """Return a session as the value of a cookie."""
        return str(self._serializer.dumps([session.id, session.who, session.secret_hash]))

    def session(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie; None where it is not ours, too old or of another generation."""
        if not cookie:
            return None
        try:
            signed = self._serializer.loads(cookie.encode("utf-8", "replace"), max_age=LIFE_S)
            found = msgspec.convert(signed, tuple[str, str, str])
        except (BadSignature, msgspec.ValidationError):
            return None
        return Session(*found)

    def token(self, session: Session) -> str:
        """Return what each form of a session has in it, and no other site can know."""
        return hmac.new(self._key, b"form\0" + session.id.encode(), "sha256").hexdigest()

    def is_token(self, session: Session, given: str) -> bool:
        """Return whether a form is from a page of this session."""
        # Of `str` it takes ASCII alone.
        return hmac.compare_digest(self.token(session).encode(), given.encode("utf-8", "replace"))


def installation_of(internal_secret: str) -> str:
    """Return what tells installations apart in names, and nothing else of the secret."""
    return hmac.digest(internal_secret.encode(), b"name of the web UI's cookies", "sha256").hex()[:8]


async def session_of_key(keys: KeyStore, secret: str) -> Session:
    """Return a new session of the admin key that has this secret.

    Raises:
        Unauthenticated: there is none that is valid, or it is no admin's.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    secret_hash = hash_secret(secret)
    key = await keys.find_by_hash(secret_hash)
    if key is None or _is_over(key.expires_at) or _is_over(key.secret_until):
        raise Unauthenticated("There is no active key with this secret.")
    if not key.admin_allowed:
        raise Unauthenticated("This key is no admin key: sign in with one that is, or with the password.")
    return new_session(key.id, secret_hash)


async def is_open(redis: Redis, keys: KeyStore, session: Session) -> bool:
    """Return whether a session was not ended, and its secret still opens an admin key.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    if await redis.exists(ui_ended_key(session.id)):
        return False
    if session.key_id is None:
        return True
    key = await keys.find_by_hash(bytes.fromhex(session.secret_hash))
    return key is not None and key.admin_allowed and not (_is_over(key.expires_at) or _is_over(key.secret_until))


def _is_over(moment: datetime | None) -> bool:
    return moment is not None and moment <= datetime.now(UTC)


async def end(redis: Redis, session: Session) -> None:
    """End a session.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    await redis.set(ui_ended_key(session.id), b"1", ex=LIFE_S)  # older cookies are not valid anyway
