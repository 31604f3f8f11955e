"""/claw/admin: what admin mode tells a model, the state of the installation, and the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quart import request

from api.endpoints.manage.guard import integer_argument
from api.gateway import gateway
from api.http.body import json_response
from api.http.query_names import takes_query
from api.prompt.admin_context import to_text
from api.prompt.machine import look_at_machine, percent
from shared.errors import NotFound
from shared.postgres.audit import AuditLog
from shared.process.threads import in_thread

if TYPE_CHECKING:
    from quart import Response

DEFAULT_ENTRIES: Final = 100
MOST_ENTRIES: Final = 1000
_LARGEST_ID: Final = 2**63 - 1  # bigint


async def show_status() -> Response:
    """Show the machine, the number of tables and which services run, as the snapshot has them."""
    snapshot = await gateway().admin_context.snapshot()
    machine = snapshot.machine
    return json_response(
        {
            "captured_at": snapshot.captured_at,
            "ram_used_gb": machine.ram_used_gb,
            "ram_total_gb": machine.ram_total_gb,
            "cpu_cores": machine.cpu_cores,
            "disk_used_gb": machine.disk_used_gb,
            "disk_total_gb": machine.disk_total_gb,
            "table_count": snapshot.table_count,
            "services": snapshot.services,
            "unknown": snapshot.unknown,
        }
    )


async def show_metrics() -> Response:
    """Show how much of the machine is used now, in percent."""
    machine = await in_thread(look_at_machine, gateway().settings.data_dir)
    return json_response(
        {
            "cpu_percent": machine.cpu_percent,
            "ram_percent": percent(machine.ram_used_gb, machine.ram_total_gb),
            "disk_percent": percent(machine.disk_used_gb, machine.disk_total_gb),
        }
    )


# nSelf's clients send both.
@takes_query("session_id", "user_id")
async def show_context() -> Response:
    """Show what admin mode tells a model: the text, and the snapshot in it. It is the same for every session."""
    snapshot = await gateway().admin_context.snapshot()
    return json_response({"captured_at": snapshot.captured_at, "context": to_text(snapshot), "snapshot": snapshot})


async def refresh_snapshot() -> Response:
    """Take the snapshot anew, however old the last one is."""
    return json_response({"captured_at": (await gateway().admin_context.refresh()).captured_at})


async def query_database() -> Response:
    """Refuse: no SQL is run for anybody."""
    raise NotFound("Queries of the database are not built: the gateway runs no SQL of others.")


async def restart_service(name: str) -> Response:  # noqa: ARG001 -- of the URL
    """Refuse: whatever started the gateway restarts it."""
    raise NotFound("Restarting services is not built: do it with what started them.")


async def list_audit() -> Response:
    """List the audit log, newest first. `next_before` is the `before` of the next page, null on the last."""
    limit = integer_argument("limit", DEFAULT_ENTRIES, low=1, high=MOST_ENTRIES)
    before = integer_argument("before", 0, low=1, high=_LARGEST_ID) if "before" in request.args else None
    entries = await AuditLog(gateway().database).list(limit, before)
    return json_response({"entries": entries, "next_before": entries[-1].id if len(entries) == limit else None})
