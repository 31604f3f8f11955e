"""`nself claw admin`: the state of the installation and the audit log, over the gateway's HTTP API."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from cli.api_client import call
from cli.cells import seconds, yes_no
from cli.operator.sessions import session_id_from
from cli.options import as_json
from cli.tables import print_json, print_table, printable

ADMIN_PATH: Final = "/claw/admin"


@click.group("admin")
def admin_group() -> None:
    """Look at the installation, and at what was done to it."""


@admin_group.command("status")
@as_json
def show_status(*, as_json: bool) -> None:
    """Show the machine and which services run."""
    answer = call("GET", f"{ADMIN_PATH}/status")
    if as_json:
        print_json(answer)
        return
    click.echo(f"Taken:   {seconds(answer['captured_at'])}")
    click.echo(f"CPU:     {answer['cpu_cores']} cores")
    click.echo(f"Memory:  {_used(answer, 'ram')}")
    click.echo(f"Disk:    {_used(answer, 'disk')}")
    click.echo(f"Tables:  {'-' if answer['table_count'] is None else answer['table_count']}")
    print_table(("Service", "Running"), [(each["name"], yes_no(each["running"])) for each in answer["services"]])


@admin_group.command("enable")
@click.option("--session", metavar="ID", type=session_id_from, required=True, help="The session.")
@click.option("--off", is_flag=True, help="Out of it.")
@as_json
def enable_mode(*, session: str, off: bool, as_json: bool) -> None:
    """Put a session whose key is an admin's into admin mode: its answers know the state of the installation."""
    answer = call("POST", f"{ADMIN_PATH}/mode", body={"session_id": session, "enabled": not off})
    if as_json:
        print_json(answer)
        return
    click.echo(f"Admin mode is {'off' if off else 'on'} for the session {session}.")


@admin_group.command("context")
@as_json
def show_context(*, as_json: bool) -> None:
    """Show what a request in admin mode tells a model."""
    answer = call("GET", f"{ADMIN_PATH}/context")
    if as_json:
        print_json(answer)
        return
    for line in answer["context"].splitlines():
        click.echo(printable(line))


@admin_group.command("refresh")
@as_json
def refresh_snapshot(*, as_json: bool) -> None:
    """Take the snapshot of the installation anew."""
    answer = call("POST", f"{ADMIN_PATH}/refresh")
    if as_json:
        print_json(answer)
        return
    click.echo(f"Taken at {seconds(answer['captured_at'])}.")


@admin_group.command("audit")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many at most.")
@as_json
def show_audit(*, limit: int, as_json: bool) -> None:
    """Show the changes by the management API and the requests in admin mode, newest first."""
    answer = call("GET", f"{ADMIN_PATH}/audit-log", query={"limit": limit})
    if as_json:
        print_json(answer)
        return
    if not answer["entries"]:
        click.echo("Nothing was changed yet.")
        return
    rows = [
        (each["id"], seconds(each["created_at"]), each["operation"], each["actor"], json.dumps(each["details"]))
        for each in answer["entries"]
    ]
    print_table(("ID", "Time", "Operation", "Actor", "Details"), rows)


def _used(answer: dict[str, Any], what: str) -> str:
    used, total = answer[f"{what}_used_gb"], answer[f"{what}_total_gb"]
    return "not known" if used is None or total is None else f"{used} of {total} GB used"
