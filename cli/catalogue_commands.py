"""`nself claw models catalogue`: whether what is known of models is still true."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import click

from cli.api_client import call
from cli.options import as_json, wide
from cli.tables import print_json, print_table
from shared.models.catalogue import load_catalogue
from shared.models.freshness import findings_of
from shared.setting_values import SettingsError
from shared.settings import load_settings


@click.group("catalogue")
def catalogue_group() -> None:
    """Return what the gateway knows of paid and free models: prices, abilities, when they are shut down."""


@catalogue_group.command("check")
@click.option(
    "--file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Instead of CLAW_CATALOGUE's."
)
@wide
@as_json
def check_catalogue(*, file: Path | None, wide: bool, as_json: bool) -> None:
    """Name the models that are shut down soon, not known or not looked up for long.

    What the makers' APIs say of that, as the gateway that runs here has heard it, goes before the catalogue, and what
    they list that it does not have is named too. Exits with
    1 if `auto` or an alias rests on one of them.
    """
    try:
        catalogue = load_settings().catalogue if file is None else load_catalogue(file)
    except (SettingsError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    findings = findings_of(catalogue, datetime.now(UTC).date(), _offered())
    if as_json:
        print_json([{"model": one.model, "what": one.text, "is_urgent": one.is_urgent} for one in findings])
    elif not findings:
        click.echo("The catalogue is up to date.")
    else:
        print_table(("Model", "What"), [(finding.model, finding.text) for finding in findings], wide=wide)
    if any(finding.is_urgent for finding in findings):
        raise SystemExit(1)


def _offered() -> dict[str, date | None]:
    """Return what their makers' APIs list, with its end where that is known, as a gateway that runs reports it."""
    try:
        listed = call("GET", "/claw/v1/offered-models")["offered"]
    except click.ClickException as error:
        click.echo(f"Only the catalogue was looked at: {error.message}", err=True)
        return {}
    return {model["id"]: _day(model.get("shutdown_date")) for model in listed}


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
