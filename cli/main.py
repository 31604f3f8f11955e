"""The `nself` command."""

from __future__ import annotations

from collections import UserDict
from importlib import import_module, metadata
from typing import Any, Final

import click


# No `dict`: its `get`, which click calls, would go past `__getitem__`.
class LazyCommands(UserDict[str, Any]):
    """Commands by their words: made of `module:name`, and imported when they are looked up."""

    def __getitem__(self, word: str) -> click.Command:
        module, _, name = super().__getitem__(word).partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


COMMANDS: Final = LazyCommands(
    {
        "admin": "cli.operator.admin:admin_group",
        "api": "cli.api_commands:api_group",
        "chat": "cli.chat.command:chat",
        "doctor": "cli.doctor.command:doctor",
        "env": "cli.up.command:env",
        "gemini": "cli.gemini_commands:gemini_group",
        "knowledge": "cli.knowledge.commands:knowledge_group",
        "logs": "cli.operator.logs:logs",
        "models": "cli.model_commands:models_group",
        "prompts": "cli.operator.prompts:prompts_group",
        "queue": "cli.operator.queue:queue_group",
        "remove": "cli.up.command:remove",
        "routing": "cli.routing_commands:routing_group",
        "sessions": "cli.operator.sessions:sessions_group",
        "stats": "cli.operator.usage:stats",
        "status": "cli.status_command:status",
        "ui": "cli.web_ui.commands:ui_group",
        "up": "cli.up.command:up",
        "usage": "cli.operator.usage:usage",
    }
)


@click.group()
@click.version_option(
    metadata.version("nself-claw-gateway"), prog_name="nself", message="%(prog)s claw gateway %(version)s"
)
def main() -> None:
    """Run and manage a self-hosted AI gateway."""


@main.group(commands=COMMANDS)
def claw() -> None:
    """Run the gateway, manage its keys, read its usage."""
