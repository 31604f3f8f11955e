"""`nself claw api keys export|erase`: all that is known of a key, and none of it any more."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from cli.api_client import call, download
from cli.key_commands import KEYS_PATH, id_in_path
from cli.options import Meaningless, as_json
from cli.tables import print_json

_END: Final = b'{"type":"end"'
_LAST_BYTES: Final = 1024
"""More than the last line has."""


@click.command("export")
@click.argument("key_id", metavar="ID")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file; else standard output.")
@as_json
def export_key(*, key_id: str, output: Path | None, as_json: bool) -> None:
    """Write all that is known of a key as lines of JSON: it, its chats, its responses, its usage."""
    path = f"{KEYS_PATH}/{id_in_path(key_id)}/export"
    if output is None:
        _write_all(path, sys.stdout.buffer)
        return
    # For its owner alone, and under its name only once it is whole.
    partial = output.with_name(output.name + ".part")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            counts = _write_all(path, file)
        partial.replace(output)
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}.") from None
    finally:
        partial.unlink(missing_ok=True)
    if as_json:
        print_json({"file": str(output), **counts})
        return
    found = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    click.echo(f"Written to {output}: the key, {found}.")


def _write_all(path: str, file: BinaryIO) -> dict[str, int]:
    """Write the lines; return how many of each kind there are.

    Raises:
        ClickException: the last line did not come.
    """
    last = b""
    for piece in download(path, query={}):
        file.write(piece)
        last = (last + piece)[-_LAST_BYTES:]
    file.flush()
    # Of a line that was cut nothing is known but that it is not the last one.
    line = last.rstrip(b"\n").rpartition(b"\n")[2] if last.endswith(b"\n") else b""
    counts: dict[str, Any] = json.loads(line) if line.startswith(_END) else {}
    if not counts:
        raise click.ClickException("The export broke off before its end. Try again.")
    del counts["type"]
    return counts


@click.command("erase")
@click.argument("key_id", metavar="ID")
@click.option("--yes", "is_confirmed", is_flag=True, help="Do not ask.")
@as_json
def erase_key(*, key_id: str, is_confirmed: bool, as_json: bool) -> None:
    """Revoke a key and delete its chats and responses; its usage stays for the sums, as nobody's, for good."""
    name = id_in_path(key_id)
    if not is_confirmed:
        if not sys.stdin.isatty():
            raise Meaningless("Erasing cannot be undone: give --yes where nobody can be asked.")
        click.confirm(f"Erase key {name}, its sessions, its responses and its name, for good?", abort=True)
    answer = call("POST", f"{KEYS_PATH}/{name}/erase", body={})
    if as_json:
        print_json(answer)
        return
    click.echo(
        f"Key {name} is erased: {answer['sessions']} sessions, {answer['responses']} responses and "
        f"{answer['conversations']} conversations deleted, {answer['usage']} rows of usage without a key, "
        f"its name out of {answer['audit_entries']} entries of the audit log."
    )
