"""The `nself` command."""

from __future__ import annotations

from importlib import metadata

import click

from cli.api_commands import api_group
from cli.catalogue_commands import catalogue_group
from cli.chat.command import chat
from cli.doctor.command import doctor
from cli.gemini_commands import gemini_group
from cli.knowledge.commands import knowledge_group
from cli.model_commands import models_group
from cli.operator.admin import admin_group
from cli.operator.logs import logs
from cli.operator.prompts import prompts_group
from cli.operator.queue import queue_group
from cli.operator.sessions import sessions_group
from cli.operator.usage import stats, usage
from cli.routing_commands import routing_group
from cli.status_command import status
from cli.up.command import env, remove, up
from cli.web_ui.commands import ui_group


@click.group()
@click.version_option(
    metadata.version("nself-claw-gateway"), prog_name="nself", message="%(prog)s claw gateway %(version)s"
)
def main() -> None:
    """Run and manage a self-hosted AI gateway."""


@main.group()
def claw() -> None:
    """Run the gateway, manage its keys, read its usage."""


claw.add_command(up)
claw.add_command(env)
claw.add_command(remove)
claw.add_command(status)
claw.add_command(doctor)
claw.add_command(admin_group)
claw.add_command(api_group)
claw.add_command(chat)
claw.add_command(gemini_group)
claw.add_command(knowledge_group)
models_group.add_command(catalogue_group)
claw.add_command(models_group)
claw.add_command(logs)
claw.add_command(prompts_group)
claw.add_command(queue_group)
claw.add_command(routing_group)
claw.add_command(sessions_group)
claw.add_command(stats)
claw.add_command(usage)
claw.add_command(ui_group)
