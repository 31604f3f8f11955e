"""State of the web UI of one api process, and the session of the request that is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

from quart import current_app, g, request

from api.gateway import gateway
from api.server.scope import PREFIX
from api.ui.sign_in import sessions
from api.ui.sign_in.password import Passwords
from api.ui.sign_in.sessions import Session, Signer
from shared.postgres.audit import UI_ACTOR
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.ui.access import Access, AccessStore

if TYPE_CHECKING:
    from quart import Response

    from shared.settings import Settings

EXTENSION: Final = "claw.ui"
COOKIE: Final = "claw_ui"
"""Beginning of its cookie's name: the rest tells it from those of other gateways on the same host."""
ROOT: Final = "/ui"


class Visit(NamedTuple):
    """The visitor of a page: the session, and what its cookies and forms are signed with."""

    session: Session
    signer: Signer

    @property
    def token(self) -> str:
        """Return what each form of its pages has in it."""
        return self.signer.token(self.session)

    @property
    def actor(self) -> str:
        """Return who acts, as the audit log names it."""
        return self.session.key_id or UI_ACTOR


class UserInterface:
    """The state of one api process for its web UI.

    Args:
        settings: the internal secret, the configured password.
        open_endpoints: what needs no sign-in.
        endpoints_of_keys: what changes something and is for who signed in with an admin key, too.
    """

    def __init__(
        self, settings: Settings, open_endpoints: frozenset[str], endpoints_of_keys: frozenset[str] = frozenset()
    ) -> None:
        self.open_endpoints = open_endpoints
        self.endpoints_of_keys = endpoints_of_keys
        self._secret = settings.internal_secret or ""
        self.cookie_name = f"{COOKIE}_{sessions.installation_of(self._secret)}"
        self.passwords = Passwords(settings.web_password)
        self._access: Access | None = None

    async def access(self) -> Access:
        """Return what PostgreSQL says of who may sign in; while it does not answer, what it said last.

        Raises:
            DatabaseUnavailable: it does not answer, and never has.
        """
        try:
            self._access = await AccessStore(gateway().database).read()
        except DatabaseUnavailable:
            if self._access is None:
                raise
        return self._access

    def signer(self, access: Access) -> Signer:
        """Return what signs the cookies of a generation."""
        return Signer(self._secret, access.generation, self.passwords.digest)

    async def visit(self) -> Visit:
        """Return who asks: a session of nobody, where no other is valid.

        Raises:
            DatabaseUnavailable: PostgreSQL never answered.
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        signer = self.signer(await self.access())
        session = signer.session(request.cookies.get(self.cookie_name))
        if session is not None and session.is_signed_in:
            session = session if await sessions.is_open(gateway().redis, gateway().keys, session) else None
        return Visit(session or sessions.new_session(), signer)


def ui() -> UserInterface:
    """Return the web UI of the app that serves the current request."""
    return cast("UserInterface", current_app.extensions[EXTENSION])


def visit() -> Visit:
    """Return who asks for the current page."""
    return cast("Visit", g.visit)


def path_prefix() -> str:
    """Return the path under which a proxy has the gateway; empty where there is none."""
    return str(request.scope.get(PREFIX, ""))


def is_secure() -> bool:
    """Return whether the client came by https, as far as a trusted proxy says so."""
    return request.scheme == "https"


def keep_session(response: Response, found: Visit) -> None:
    """Let the client keep the session of a visit."""
    response.set_cookie(
        ui().cookie_name,
        found.signer.cookie(found.session),
        max_age=sessions.LIFE_S,
        path=path_prefix() + ROOT,
        secure=is_secure(),
        httponly=True,
        # Lax, not Strict: a link in a mail finds you signed in. What changes something is a POST with a token.
        samesite="Lax",
    )
