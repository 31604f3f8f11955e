"""How every endpoint of /v1 begins: with a caller who has a key."""

from __future__ import annotations

from quart import g, request

from api.gateway import gateway
from api.requests.context import Call


async def authenticated_call(endpoint: str, model: str = "") -> Call:
    """Begin the call that the current request makes; from here on the usage log has a row for it, however it ends.

    Args:
        endpoint: as the usage log names it.
        model: the one asked for, where it is known before the body is read.

    Raises:
        Unauthenticated: there is no key, or none that is valid.
        Overloaded: whether the key is valid cannot be found out now.
    """
    parts = gateway()
    principal = await parts.authenticator.authenticate(request.headers)
    return Call(parts, principal, endpoint, g.request_id, model)
