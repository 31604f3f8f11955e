"""/claw/admin: the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quart import request

from api.endpoints.manage.guard import integer_argument
from api.gateway import gateway
from api.http.body import json_response
from shared.postgres.audit import AuditLog

if TYPE_CHECKING:
    from quart import Response

DEFAULT_ENTRIES: Final = 100
MOST_ENTRIES: Final = 1000
_LARGEST_ID: Final = 2**63 - 1


async def list_audit() -> Response:
    """List the audit log, newest first. `next_before` is the `before` of the next page, null on the last."""
    limit = integer_argument("limit", DEFAULT_ENTRIES, low=1, high=MOST_ENTRIES)
    before = integer_argument("before", 0, low=1, high=_LARGEST_ID) if "before" in request.args else None
    entries = await AuditLog(gateway().database).list(limit, before)
    return json_response({"entries": entries, "next_before": entries[-1].id if len(entries) == limit else None})
