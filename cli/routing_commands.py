"""`nself claw routing`: the tiers that `auto` may use, over the gateway's HTTP API."""

from __future__ import annotations

from typing import Any, Final

import click

from cli.api_client import ai_url, call_for_array
from cli.options import Meaningless, as_json, on_or_off
from cli.tables import print_json, print_table

ROUTING_PATH: Final = "/ai/routing/config"


@click.group("routing")
def routing_group() -> None:
    """Choose the tiers that the model `auto` may use, and their order."""


@routing_group.command("show")
@as_json
def show_routing(*, as_json: bool) -> None:
    """Show the rules; of each class the lowest priority is tried first."""
    _show(call_for_array("GET", ROUTING_PATH, url=ai_url()), as_json=as_json)


@routing_group.command("set")
@click.argument("task_class", metavar="TASK_CLASS")
@click.argument("tier", metavar="TIER")
@click.option("--priority", type=click.IntRange(0, 100), help="The lowest is tried first.")
@on_or_off("enable", "disable", "enabled", "`auto` may use the tier.")
@as_json
def set_routing(*, task_class: str, tier: str, priority: int | None, enabled: bool | None, as_json: bool) -> None:
    """Change a rule: TASK_CLASS is chat or embeddings, TIER is local, free_gemini or api_key."""
    wanted = {"priority": priority, "enabled": enabled}
    change = {name: value for name, value in wanted.items() if value is not None}
    if not change:
        raise Meaningless("Nothing to change: give --priority, --enable or --disable.")
    rules = call_for_array(
        "PUT", ROUTING_PATH, url=ai_url(), body=[{"task_class": task_class, "source_tier": tier, **change}]
    )
    _show(rules, as_json=as_json)


def _show(rules: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rules)
        return
    ordered = sorted(rules, key=lambda rule: (rule["task_class"], not rule["enabled"], rule["priority"]))
    rows = [
        (rule["task_class"], rule["source_tier"], rule["priority"], "yes" if rule["enabled"] else "no")
        for rule in ordered
    ]
    print_table(("Task class", "Tier", "Priority", "Enabled"), rows)
