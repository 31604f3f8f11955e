"""The tree of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHERS = {"up", "sessions export"}
"""One runs until it is stopped, one writes in the format that it is told."""


def leaves(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that is no group, and its words."""
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
