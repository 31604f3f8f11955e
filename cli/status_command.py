"""`nself claw status`: whether a gateway runs, where, and whether it can serve."""

from __future__ import annotations

from typing import Any, Final

import click
import httpx

from cli.api_client import gateway_url, settings
from cli.options import as_json
from cli.tables import print_json, printable
from cli.up.running import read_note

TIMEOUT_S: Final = 5.0
PARTS: Final = ("redis", "postgres", "models")
_SERVING: Final = frozenset({"ready", "degraded"})


@click.command("status")
@as_json
def status(*, as_json: bool) -> None:
    """Show whether the gateway runs and what it lacks; exits with 1 if it cannot serve."""
    found = settings()
    note = read_note(found.data_dir)
    url = gateway_url()
    answer = _ready(url)
    state = str(answer.get("status", "not running"))
    if as_json:
        shown = {part: answer.get(part) for part in PARTS}
        pid = note.pid if note else None
        print_json({"status": state, "url": url, "data_dir": str(found.data_dir), "pid": pid, **shown})
    else:
        click.echo(f"Gateway:  {printable(state)}, at {url}")
        click.echo(f"Data:     {found.data_dir}")
        if note is not None:
            click.echo(f"Process:  {note.pid}")
        for part in PARTS if answer else ():
            why = answer.get("why", {}).get(part, "")
            has = f"{answer.get(part, '-')}{f': {why}' if why else ''}"
            click.echo(f"{part.capitalize() + ':':<10}{printable(has)}")
    if state not in _SERVING:
        raise SystemExit(1)


def _ready(url: str) -> dict[str, Any]:
    """Return what GET /ready says; empty where nobody answers as a gateway does."""
    try:
        with httpx.Client(trust_env=False, timeout=TIMEOUT_S) as client:
            answer = client.get(f"{url}/ready").json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}
