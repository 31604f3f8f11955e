"""The command `doctor`."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

import click
import msgspec

from cli.api_client import gateway_url
from cli.doctor.of_machine import check_api, check_model_servers, check_open_knowledge
from cli.options import as_json
from cli.tables import print_json, printable
from cli.up.running import read_note
from shared.process.doctor.finding import Finding
from shared.process.doctor.of_machine import check_disk, check_settings
from shared.process.doctor.of_postgres import check_postgres
from shared.process.doctor.of_redis import check_redis
from shared.process.doctor.of_workers import check_workers
from shared.redis import client as redis_client
from shared.setting_values import SettingsError
from shared.settings import load_settings

if TYPE_CHECKING:
    from shared.settings import Settings

CANNOT_RUN: Final = 2
_COLORS: Final = {"ok": "green", "note": "yellow", "unchecked": "cyan", "wrong": "red"}


@click.command("doctor")
@as_json
def doctor(*, as_json: bool) -> None:
    """Look for what is wrong, and say how to mend it.

    Exits with 0 where nothing is wrong, 1 where something is, 2 where it cannot be found out.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        click.secho(f"The settings cannot be read: {error}", fg="red", err=True)
        sys.exit(CANNOT_RUN)
    findings = asyncio.run(examine(settings))
    if as_json:
        print_json([msgspec.to_builtins(finding) for finding in findings])
    else:
        _show(findings)
    sys.exit(1 if any(finding.state == "wrong" for finding in findings) else 0)


async def examine(settings: Settings) -> list[Finding]:
    """Return all that is found, of this machine and of the servers that the settings or a running gateway name."""
    note = read_note(settings.data_dir)
    findings = [*check_settings(settings), *check_disk(settings)]
    findings += await check_api(settings, gateway_url(), is_ours=note is not None)
    findings += await check_open_knowledge(settings)
    findings += await check_model_servers(settings)
    database_url = settings.database_url or (note.database_url if note else "")
    findings += await check_postgres(database_url) if database_url else [_nowhere("postgres", "DATABASE_URL")]
    redis_url = settings.redis_url or (note.redis_url if note else "")
    findings += await _of_redis(redis_url) if redis_url else [_nowhere("redis", "REDIS_URL")]
    return findings


async def _of_redis(url: str) -> list[Finding]:
    redis = redis_client.connect(url)
    try:
        answers, findings = await check_redis(redis)
        if not answers:
            return [*findings, Finding("workers", "unchecked", "Workers are asked through Redis")]
        return [*findings, *await check_workers(redis)]
    finally:
        await redis_client.close(redis)


def _nowhere(part: str, variable: str) -> Finding:
    return Finding(part, "unchecked", f"{variable} is not set, and no gateway runs on this data folder")


def _show(findings: list[Finding]) -> None:
    for finding in findings:
        click.secho(f"{finding.state:<10}", fg=_COLORS[finding.state], nl=False)
        click.echo(f"{finding.part:<13} {printable(finding.text)}")
        if finding.mend:
            click.echo(f"{'':<24}{printable(finding.mend)}")
    wrong = sum(finding.state == "wrong" for finding in findings)
    click.echo()
    click.echo(f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong." if wrong else "Nothing is wrong.")
