"""`nself claw admin`: the audit log, over the gateway's HTTP API."""

from __future__ import annotations

import json
from typing import Final

import click

from cli.api_client import call
from cli.cells import seconds
from cli.options import as_json
from cli.tables import print_json, print_table

ADMIN_PATH: Final = "/claw/admin"


@click.group("admin")
def admin_group() -> None:
    """Look at the installation, and at what was done to it."""


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
