"""The commands `up` and `env`."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from cli.options import as_json
from cli.tables import print_json
from cli.up.embedded.postgres_home import system_folders
from cli.up.ports import becomes_free, free_port
from cli.up.preconditions import StartFailed, check_owner, make_private
from cli.up.procfile import ProcfileError, read_procfile
from cli.up.running import AlreadyRuns, exclusive, read_note
from cli.up.stack import Stack
from cli.up.terminal import Terminal
from shared.setting_values import SettingsError
from shared.settings import (
    PROJECT_ROOT,
    SHELL_VARIABLES,
    Settings,
    default_data_dir,
    ensure_secrets,
    forget_shell_variables,
    load_settings,
)

_PREDECESSOR_S = 1.0
_OTHERS_SHELL = (
    "This shell has the settings of the gateway on {shell_of}, from `nself claw env`: {names}. A new one would use its "
    "servers. Start it without them: nself claw up --here. Or, if that is what you want: unset NSELF_CLAW_ENV"
)


@click.command()
@click.option("--verbose", is_flag=True, help="Show every line of every process, not only warnings.")
@click.option(
    "--procfile",
    type=click.Path(path_type=Path, dir_okay=False),
    default=PROJECT_ROOT / "Procfile",
    help="Which processes to run, instead of the gateway's own.",
)
@click.option("--here", is_flag=True, help="Without what `nself claw env` has set in this shell.")
def up(*, verbose: bool, procfile: Path, here: bool) -> None:
    """Run the gateway, with embedded servers for whatever is not configured, until Ctrl-C."""
    try:
        if here:
            forget_shell_variables()
        elif (shell_of := load_settings().shell_of) is not None:
            _fail(_OTHERS_SHELL.format(shell_of=shell_of, names=", ".join(SHELL_VARIABLES[:3])), os.EX_CONFIG)
        data_dir = default_data_dir()
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        warning = check_owner(data_dir)
        (data_dir / "log").mkdir(mode=0o700, exist_ok=True)
        # Before the settings are read: those are found among them.
        ensure_secrets(data_dir)
        terminal = Terminal(verbose=verbose)
        for text in (*make_private(data_dir), *filter(None, [warning])):
            terminal.warn(text)
        settings = load_settings()
        commands = read_procfile(procfile)
        with exclusive(data_dir):
            sys.exit(asyncio.run(_run(settings, commands, procfile.absolute().parent, terminal)))
    except SettingsError as error:
        _fail(str(error), os.EX_CONFIG)
    except (ProcfileError, AlreadyRuns, StartFailed) as error:
        _fail(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"Cannot start: {where}{error.strerror or error}. CLAW_DATA_DIR names another data folder.")


@click.command()
@as_json
def env(*, as_json: bool) -> None:
    """Print the running gateway's settings for a shell: eval "$(nself claw env)"."""
    try:
        data_dir = default_data_dir()
    except SettingsError as error:
        _fail(str(error), os.EX_CONFIG)
    note = read_note(data_dir)
    if note is None:
        _fail(f"No gateway runs on {data_dir}. Start it with: nself claw up")
    variables = {
        "REDIS_URL": note.redis_url,
        "DATABASE_URL": note.database_url,
        "PLUGIN_INTERNAL_SECRET": note.internal_secret,
        "NSELF_CLAW_URL": note.claw_url,
        "NSELF_CLAW_ENV": str(data_dir),
    }
    if as_json:
        print_json(variables)
        return
    for name, value in variables.items():
        # Quoted: it goes through a shell's eval.
        click.echo(f"export {name}={shlex.quote(value)}")


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def remove(*, yes: bool, as_json: bool) -> None:
    """Remove all data of a gateway that does not run: keys, usage, secrets, logs, the embedded database."""
    try:
        data_dir = default_data_dir().absolute()
        if not (data_dir / "secrets").is_dir():
            _fail(f"{data_dir} is no data folder of a gateway.")
        with exclusive(data_dir):
            folders = [data_dir, *(place for place, origin in system_folders().items() if origin == data_dir)]
            click.echo("\n".join(map(str, folders)), err=as_json)
            if not yes:
                click.confirm("Remove this for good, with all keys and usage?", abort=True, err=as_json)
            # The data folder last: without it a second try would not know of the others.
            for folder in reversed(folders):
                shutil.rmtree(folder)
    except SettingsError as error:
        _fail(str(error), os.EX_CONFIG)
    except AlreadyRuns as error:
        _fail(f"{error} Stop it first.")
    except OSError as error:
        _fail(f"Cannot remove it: {error}")
    if as_json:
        print_json({"removed": [str(folder) for folder in folders]})
        return
    click.echo("Removed.")


async def _run(settings: Settings, commands: dict[str, tuple[str, ...]], directory: Path, terminal: Terminal) -> int:
    if settings.port == 0:
        # Chosen here, not by the api: the note, the welcome and the other commands must know it before it listens.
        settings = msgspec.structs.replace(settings, port=free_port())
    if not await _is_ours(settings):
        terminal.error(
            f"Port {settings.port} on {settings.host} is taken by another program. "
            f"Stop that, or choose another port: CLAW_PORT={settings.port + 1} make up"
        )
        return 1
    return await Stack(settings, commands, directory, terminal).run()


async def _is_ours(settings: Settings) -> bool:
    """Return whether the api can listen where it shall; not if another program does.

    Raises:
        SettingsError: nobody can listen there: no such address, or a port for root alone.
    """
    try:
        return await becomes_free(settings.host, settings.port, _PREDECESSOR_S)
    except PermissionError as error:
        raise SettingsError(f"CLAW_PORT={settings.port} cannot be listened on: {error.strerror}") from None
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise SettingsError(f"CLAW_HOST={settings.host} cannot be listened on: {why}") from None


def _fail(text: str, exit_code: int = 1) -> NoReturn:
    click.secho(text, fg="red", err=True)
    sys.exit(exit_code)
