"""Keys that are managed with an admin's key in the place of the internal token, as nSelf's newer command line does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import g, request

from api.gateway import gateway
from api.routing.key_bounds import NO_KEY_BOUNDS
from shared.errors import ModelNotAllowed
from shared.postgres.audit import INTERNAL_ACTOR

if TYPE_CHECKING:
    from api.admission.auth import Principal


async def authenticate_admin() -> None:
    """Let an admin's key in, and keep whose it is for the audit log.

    Raises:
        Unauthenticated: it is no key, or a revoked one.
        ModelNotAllowed: it is no admin's.
        Overloaded: whether it is valid cannot be found out now.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    parts = gateway()
    # The key may be cached here, and the news of its revocation or change lost.
    principal = await parts.authenticator.confirmed(
        parts.redis, await parts.authenticator.authenticate(request.headers)
    )
    if not principal.admin_allowed or principal.key_id is None:
        raise ModelNotAllowed(
            "Only a key with admin_allowed may manage keys; else an x-internal-token header is needed.",
            code="admin_not_allowed",
        )
    g.admin = principal


def actor() -> str:
    """Return who makes the current change, for the audit log."""
    admin: Principal | None = g.get("admin")
    return INTERNAL_ACTOR if admin is None else admin.key_id or INTERNAL_ACTOR


def check_may_create(*, admin_allowed: bool) -> None:
    """Check that the caller may create a key: nobody gets more by a new key than by the own one.

    Raises:
        ModelNotAllowed: it is an admin's key that is bounded itself, or is to make another admin's.
    """
    admin: Principal | None = g.get("admin")
    if admin is None:
        return
    bounded = is_bounded(admin)
    if admin_allowed or bounded:
        why = "a key that has bounds of its own" if bounded else "another key"
        what = "keys" if bounded else "keys with admin_allowed"
        raise ModelNotAllowed(f"The internal token is needed to create {what}, not {why}.", code="admin_not_allowed")


def is_bounded(admin: Principal) -> bool:
    """Return whether a key has bounds of its own, beside its requests a minute."""
    return bool(admin.monthly_budget_usd is not None or admin.tokens_per_minute or admin.bounds != NO_KEY_BOUNDS)
