"""Pages of the installation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import msgspec
from quart import Response, current_app, request

from api.endpoints.health import READINESS
from api.endpoints.manage.guard import flag_argument, integer_argument
from api.gateway import gateway
from api.prompt.admin_context import to_text
from api.prompt.machine import percent
from api.ui import flash
from api.ui.links import url
from api.ui.navigation import ADMIN
from api.ui.pages.admin.settings import rows
from api.ui.render import render, see_other
from shared.postgres.audit import INTERNAL_ACTOR, UI_ACTOR, AuditLog
from shared.process.doctor import of_machine
from shared.process.doctor.of_postgres import check_postgres
from shared.process.doctor.of_redis import check_redis
from shared.process.doctor.of_workers import check_workers
from shared.process.threads import in_thread
from shared.settings import host_name, unknown_variables

if TYPE_CHECKING:
    from api.endpoints.health import Readiness
    from shared.postgres.audit import AuditEntry
    from shared.process.doctor.finding import Finding

PAGE_ROWS: Final = 50
LARGEST_ID: Final = 2**63 - 1
ORDER: Final = ("wrong", "note", "unchecked", "ok")
_AT_HAND: Final = frozenset({"request_id", "status", "asked", "made"})
"""Details of an entry that have places of their own, or say nothing to people."""


async def show_admin() -> Response:
    """Show the state of the installation, as admin mode tells it to models."""
    snapshot = await gateway().admin_context.snapshot()
    machine = snapshot.machine
    return await render(
        "admin/snapshot.html",
        ADMIN,
        snapshot=snapshot,
        machine=machine,
        ram_percent=percent(machine.ram_used_gb, machine.ram_total_gb),
        disk_percent=percent(machine.disk_used_gb, machine.disk_total_gb),
        text=to_text(snapshot),
    )


async def refresh_snapshot() -> Response:
    """Take the snapshot anew."""
    await gateway().admin_context.refresh()
    flash.add("The snapshot was taken anew.")
    return see_other(url("admin"))


async def show_audit() -> Response:
    """Show the audit log, page by page, the newest first."""
    before = integer_argument("before", 0, low=1, high=LARGEST_ID) if request.args.get("before") else None
    entries = await AuditLog(gateway().database).list(PAGE_ROWS + 1, before)
    names = {key.id: key.name for key in await gateway().keys.list(include_revoked=True)}
    shown = [(entry, actor_name(entry.actor, names), details_text(entry)) for entry in entries[:PAGE_ROWS]]
    return await render(
        "admin/audit.html",
        ADMIN,
        entries=shown,
        keys=names,
        next_before=entries[PAGE_ROWS - 1].id if len(entries) > PAGE_ROWS else None,
        is_first=before is None,
    )


async def show_settings() -> Response:
    """Show the settings of this api process."""
    return await render("admin/settings.html", ADMIN, rows=list(rows(gateway().settings)), unknown=unknown_variables())


async def show_doctor() -> Response:
    """Show what is wrong with the servers and the workers; asked for, since it takes a while."""
    has_looked = flag_argument("look")
    findings = await examine() if has_looked else []
    counts = {state: sum(finding.state == state for finding in findings) for state in ORDER}
    findings.sort(key=lambda finding: ORDER.index(finding.state))
    return await render("admin/doctor.html", ADMIN, has_looked=has_looked, findings=findings, counts=counts)


async def examine() -> list[Finding]:
    """Return what the doctor finds of this api process, of its machine, and of all that it reaches."""
    state, readiness = gateway(), cast("Readiness", current_app.extensions[READINESS])
    settings = state.settings
    status, lacks = await readiness.check()
    here = f"The gateway at {settings.host}:{settings.port} on {host_name()}"
    findings = [of_machine.readiness(here, status, {part: why for part, why in lacks.items() if why is not None})]
    findings += [*of_machine.check_settings(settings), *await in_thread(of_machine.check_disk, settings)]
    findings += await check_postgres(settings.database_url or "")
    answers, of_redis = await check_redis(state.redis)
    findings += of_redis
    if answers:  # workers are asked through Redis
        findings += await check_workers(state.redis)
    return findings


def actor_name(actor: str, names: dict[str, str]) -> str:
    """Return who acted, for people: the name of a key, or which secret it was."""
    return {INTERNAL_ACTOR: "the internal token", UI_ACTOR: "the password of this site"}.get(actor) or names.get(
        actor, actor
    )


def details_text(entry: AuditEntry) -> str:
    """Return what an entry says of what was changed, in a line."""
    details = entry.details
    found = {name: value for name, value in details.items() if name not in _AT_HAND}
    change = details.get("asked")
    if isinstance(change, dict):
        found |= change
    if details.get("made"):
        found["id"] = details["made"]
    return ", ".join(f"{name}: {_plain(value)}" for name, value in found.items())


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
