"""`nself claw api`: keys, usage, the budget and a test of the gateway, over its HTTP API."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import click

from cli.api_client import call, gateway_url, internal_headers, settings
from cli.cells import seconds, usd
from cli.key_commands import KEYS_PATH, keys_group
from cli.key_records import erase_key, export_key
from cli.options import Meaningless, as_json, secret_from, wide
from cli.tables import print_json, print_table, printable

USAGE_PATH: Final = "/claw/v1/usage"
BUDGET_PATH: Final = "/claw/v1/budget"
USAGE_COLUMNS: Final = ("Key ID", "Prompt", "Compl", "Model", "Time", "Tier", "Cost", "Status")
WIDE_COLUMNS: Final = ("Key", "Request", "Reason")
INTERNAL: Final = "internal"
ERASED: Final = "erased"
"""Keys that were erased, together."""
MODELS_ENDPOINT: Final = "models"
_SMALLEST_PAGE: Final = 1000
"""Number of entries that are asked for at once where some will be left out."""


@click.group("api")
def api_group() -> None:
    """Manage keys; see usage and the budget of the gateway."""


keys_group.add_command(export_key)
keys_group.add_command(erase_key)
api_group.add_command(keys_group)


@api_group.command("usage")
@click.option(
    "--key",
    metavar="NAME_OR_ID",
    help="Only this key's; `internal` for the internal token's, `erased` for those of erased keys.",
)
@click.option("--request", "request_id", metavar="ID", help="Only this request, with all that is known of it.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="How many at most.")
@click.option("--all", "is_all", is_flag=True, help="Calls of /v1/models too (JSON always has them).")
@wide
@as_json
def show_usage(*, key: str | None, request_id: str | None, limit: int, is_all: bool, wide: bool, as_json: bool) -> None:
    """Show the requests, newest first."""
    query: dict[str, str | int] = {"limit": limit, **({"key_id": _key_id(key)} if key else {})}
    if request_id:
        query["request_id"] = request_id
    if as_json:
        print_json(call("GET", USAGE_PATH, query=query))
        return
    whole = is_all or bool(request_id)
    entries = call("GET", USAGE_PATH, query=query)["usage"] if whole else _requests_to_models(query, limit)
    if not entries:
        click.echo("No such request." if request_id else "No usage yet.")
        return
    if request_id:
        for field, value in entries[0].items():
            click.echo(f"{field + ':':<19}{printable('-' if value in (None, '') else str(value))}")
        return
    columns = (*USAGE_COLUMNS, *(WIDE_COLUMNS if wide else ()))
    rows = [_usage_row(entry)[: len(columns)] for entry in entries]
    print_table(
        columns, rows, wide=wide, most_wanted=("Time", "Model", "Status", "Prompt", "Compl", "Cost", "Tier", "Key ID")
    )


def _key_id(key: str) -> str:
    """Return the id of the key that is named.

    Raises:
        ClickException: there is none of this name, or more than one.
    """
    if key in {INTERNAL, ERASED}:
        return key
    with suppress(ValueError):
        return str(UUID(key))
    ids = [known["id"] for known in call("GET", KEYS_PATH, query={"all": "true"})["keys"] if known["name"] == key]
    if len(ids) == 1:
        return str(ids[0])
    if ids:
        raise Meaningless(f"Several keys have the name {key!r}; give the id of one: {', '.join(ids)}")
    raise click.ClickException(f"No key has the name or the id {key!r}; `nself claw api keys list --all` shows them.")


@api_group.command("budget")
@as_json
def show_budget(*, as_json: bool) -> None:
    """Show what this month may cost, and what it has cost."""
    answer = call("GET", BUDGET_PATH)
    if as_json:
        print_json(answer)
        return
    click.echo(f"Month:      {answer['month']}, until {answer['resets_at']}")
    click.echo(f"Limit:      {usd(answer['limit_usd'])}")
    click.echo(f"Spent:      {usd(answer['spent_usd'])}")
    click.echo(f"Reserved:   {usd(answer['held_usd'])}")
    if answer["remaining_usd"] is not None:
        click.echo(f"Remaining:  {usd(answer['remaining_usd'])}")
    if answer["keys"]:
        rows = [
            (key["key_id"], key["key_name"], *(usd(key[sum_usd]) for sum_usd in ("limit_usd", "spent_usd", "held_usd")))
            for key in answer["keys"]
        ]
        print_table(("Key ID", "Name", "Limit", "Spent", "Reserved"), rows)


@api_group.command("test")
@click.option("--url", help="The gateway's, with or without /v1.")
@click.option(
    "--key",
    "given",
    metavar="-|KEY",
    help="The gateway key to use; - asks for it, or reads it from standard input, where nobody else sees it. "
    "Without it NSELF_CLAW_KEY, else the internal token.",
)
@click.option("--verbose", is_flag=True, help="List the models, and the names that are known but not available.")
@as_json
def test_gateway(*, url: str | None, given: str | None, verbose: bool, as_json: bool) -> None:
    """Check that the gateway answers and accepts the key."""
    secret = settings().cli_key if given is None else secret_from(given, "Gateway key")
    headers = {"authorization": f"Bearer {secret}"} if secret else internal_headers()
    answer = call("GET", "/v1/models", url=url, headers=headers, query={"unavailable": "true"})
    listed = answer.get("data", [])
    models = [model["id"] for model in listed if model.get("available", True)]
    reasons = {model["id"]: model["reason"] for model in listed if not model.get("available", True)}
    if as_json:
        print_json(
            {
                "reachable": True,
                "url": gateway_url(url) + "/v1",
                "model_count": len(models),
                "models": models,
                "unavailable": reasons,
            }
        )
        return
    click.echo(f"Gateway is reachable. {len(models)} models available.")
    if verbose:
        for model in models:
            click.echo(f"  {printable(model)}")
        for model, reason in reasons.items():
            click.echo(f"  {printable(model)} (not available: {printable(reason)})")


def _requests_to_models(query: dict[str, str | int], limit: int) -> list[dict[str, Any]]:
    """Return the newest entries without the calls of /v1/models, from as many pages as it takes."""
    page = query | {"limit": max(limit, _SMALLEST_PAGE)}
    found: list[dict[str, Any]] = []
    while True:
        answer = call("GET", USAGE_PATH, query=page)
        found += [entry for entry in answer["usage"] if entry.get("endpoint") != MODELS_ENDPOINT]
        if len(found) >= limit or not answer.get("next_before"):
            return found[:limit]
        page["before"] = answer["next_before"]


def _usage_row(entry: dict[str, Any]) -> tuple[object, ...]:
    status = f"{entry['status']} {entry.get('error_code') or ''}".strip()
    # Past a number of refusals of a key in a minute one entry stands for all others.
    if entry.get("count", 1) > 1:
        status += f" x{entry['count']}"
    return (
        *(entry["key_id"], entry["prompt_tokens"], entry["completion_tokens"], entry["model"]),
        *(seconds(entry["created_at"]), entry.get("tier_source"), usd(entry.get("cost_usd") or 0), status),
        *(entry["key_name"], entry["request_id"], entry.get("error_reason")),
    )
