"""The tree of commands."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click

from cli.main import COMMANDS, main

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHERS = {"up", "sessions export"}
"""One runs until it is stopped, one writes in the format that it is told."""


def leaves(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command that is no group, and its words."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from leaves(inner, f"{path} {name}".strip())


def test_every_command_prints_json_if_asked() -> None:
    """That shows something."""
    without = {
        path for path, command in leaves(main) if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert without <= {f"claw {words}" for words in OTHERS}


def test_commands_are_known_by_their_own_words() -> None:
    """Each is where it is said to be, and the help that lists them calls it what it calls itself."""
    assert {word: command.name for word, command in COMMANDS.items()} == {word: word for word in COMMANDS}


def test_a_command_is_imported_when_it_is_run() -> None:
    """The version needs none of what the others talk to the gateway by."""
    code = (
        "import sys, cli.main; cli.main.main(['--version'], standalone_mode=False); "
        "assert not {'httpx', 'redis', 'asyncpg', 'rich'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_no_command_loads_opentelemetry() -> None:
    """Which only processes that make spans do, where traces are wanted."""
    code = (
        "import sys; from cli.main import COMMANDS; assert len(list(COMMANDS.values())) > 10; "
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
