"""`nself claw ui`: the web UI's password, over the gateway's HTTP API."""

from __future__ import annotations

from typing import Final

import click

from cli.api_client import call, gateway_url, settings
from cli.options import ASK, as_json, secret_from
from cli.tables import print_json
from cli.web_ui.password import new_password

PASSWORD_PATH: Final = "/claw/ui/password"  # noqa: S105 -- a path


@click.group("ui")
def ui_group() -> None:
    """Set the password of the web UI."""


@ui_group.command("password")
@click.option(
    "--password",
    "given",
    metavar=ASK,
    help="Ask for a password of your own, or read it from standard input; without, one is made and shown, once.",
)
@as_json
def set_password(*, given: str | None, as_json: bool) -> None:
    """Set a new password for the web UI. Everybody is signed out."""
    if given not in {None, ASK}:
        raise click.UsageError(f"A password in the command line can be read by others: --password {ASK} asks for it.")
    password = new_password() if given is None else secret_from(ASK, "password")
    call("PUT", PASSWORD_PATH, body={"password": password})
    shown = {"url": web_ui_url(), **({"password": password} if given is None else {})}
    if as_json:
        print_json(shown)
        return
    click.echo(f"Web UI:   {shown['url']}")
    if given is None:
        click.echo(f"Password: {password}")
        click.echo("It will not be shown again.")
    click.echo("Everybody was signed out.")


def web_ui_url() -> str:
    """Return where browsers reach the web UI: beside the API, where that has a configured base URL."""
    base_url = settings().base_url
    return (base_url.rstrip("/").removesuffix("/v1") if base_url else gateway_url()) + "/ui"
