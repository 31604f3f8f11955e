"""/claw/ui: whether there is a web UI, and its password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api.endpoints.manage.guard import body_as
from api.gateway import gateway
from api.http.body import json_response
from shared.errors import Conflict, NotFound
from shared.postgres.ui.access import AccessStore

if TYPE_CHECKING:
    from quart import Response

OFF: Final = "The web UI is off (CLAW_UI)."


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A password; with `only_first` one that is there stays."""

    password: str
    only_first: bool = False


async def show_web_ui() -> Response:
    """Show whether there is a web UI, and where its password is from: the environment, PostgreSQL, nowhere."""
    state = gateway()
    if not state.settings.ui:
        return json_response({"enabled": False, "password": None})
    if state.settings.web_password is not None:
        return json_response({"enabled": True, "password": "environment"})
    access = await AccessStore(state.database).read()
    return json_response({"enabled": True, "password": "none" if access.password_hash is None else "stored"})


async def set_web_password() -> Response:
    """Set the password of the web UI for every api process, and sign everybody out."""
    from api.ui.state import ui  # noqa: PLC0415 -- an api without the UI does not load what it needs

    wanted = await body_as(NewPassword)
    state = gateway()
    if not state.settings.ui:
        raise NotFound(OFF)
    if state.settings.web_password is not None:
        raise Conflict("CLAW_WEB_PASSWORD is the password: change it there, and start the gateway anew.")
    store = AccessStore(state.database)
    # The store decides; this look spares the hash, which is slow on purpose.
    if wanted.only_first and (await store.read()).password_hash is not None:
        return json_response({"changed": False})
    password_hash = await ui().passwords.hashed(wanted.password)
    return json_response({"changed": await store.set_password(password_hash, only_first=wanted.only_first)})
