"""/claw/v1/api-keys: list, create, change, rotate and revoke gateway keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from quart import g, request

from api.endpoints.keys import operations
from api.endpoints.keys.admins import actor, check_may_create
from api.endpoints.keys.operations import NewKey
from api.endpoints.manage.guard import body_as, flag_argument
from api.gateway import gateway
from api.http.body import json_response
from shared.postgres.keys import DEFAULT_GRACE_S, GraceSeconds, KeyChange

if TYPE_CHECKING:
    from quart import Response

    from shared.postgres.keys import ApiKey


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For how many seconds the secret before is valid still."""

    grace_s: GraceSeconds = DEFAULT_GRACE_S


async def list_keys() -> Response:
    """List the active keys; with `?all=true` the revoked ones after them."""
    keys = await gateway().keys.list(include_revoked=flag_argument("all"))
    return json_response({"keys": [_shown(key) for key in keys]})


async def create_key() -> Response:
    """Create a key. The reply is the only place where it is ever shown."""
    wanted = await body_as(NewKey)
    check_may_create(admin_allowed=wanted.admin_allowed)
    key, secret = await operations.create_key(wanted, _call())
    return json_response({**_shown(key), "key": secret}, 201)


async def rotate_key(key_id: str) -> Response:
    """Give a key another secret, shown this once; what else is known of the key stays."""
    wanted = await body_as(Rotation)
    key, secret, until = await operations.rotate_key(key_id, wanted.grace_s, _call())
    return json_response({**_shown(key), "key": secret, "old_key_valid_until": until})


async def change_key(key_id: str) -> Response:
    """Change a key everywhere; fields that are not given stay, and one of null is removed."""
    change = await body_as(KeyChange)
    return json_response(_shown(await operations.change_key(key_id, change)))


async def revoke_key(key_id: str) -> Response:
    """Revoke a key everywhere. Doing it again is no error."""
    key_id = await operations.revoke_key(key_id)
    return json_response({"id": key_id, "is_active": False, "revoked": True})


def _call() -> bytes:
    """Return what makes two calls the same one."""
    # Sorted: a client may send the same fields in another order.
    change = msgspec.json.encode(g.get("change"), order="sorted")
    return f"{actor()} {request.method} {request.path} ".encode() + change


def _shown(key: ApiKey) -> dict[str, Any]:
    shown = {**msgspec.structs.asdict(key), "is_active": key.is_active}
    del shown["secret_until"], shown["revision"]
    return shown
