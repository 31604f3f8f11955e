"""`nself claw api`: keys, usage, the budget and a test of the gateway, over its HTTP API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click

from cli.api_client import call, gateway_url, internal_headers
from cli.tables import print_json, print_table
from shared.keys import MAX_BUDGET_USD
from shared.settings import MAX_RPM_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS_PATH: Final = "/claw/v1/api-keys"
USAGE_PATH: Final = "/claw/v1/usage"
BUDGET_PATH: Final = "/claw/v1/budget"
NO_BUDGET: Final = "none"
BUDGET_HELP: Final = "US dollars that it may spend at paid APIs in a month; 0: nothing, none: no bound of its own."
rpm_range: Final = click.IntRange(1, MAX_RPM_LIMIT)
_NOT_IN_AN_ID: Final = re.compile(r"[^a-fA-F0-9-]")

as_json: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def dollars(text: str) -> float | str:
    """A sum of US dollars, or `none`.

    Raises:
        BadParameter: it is neither.
    """
    if text.lower() == NO_BUDGET:
        return NO_BUDGET
    try:
        sum_usd = float(text)
    except ValueError:
        sum_usd = -1.0
    if not 0 <= sum_usd <= MAX_BUDGET_USD:
        raise click.BadParameter(f"{text!r} is neither a sum of US dollars from 0 to {MAX_BUDGET_USD} nor {NO_BUDGET}.")
    return sum_usd


@click.group("api")
def api_group() -> None:
    """Keys, usage and the budget of the gateway."""


@api_group.group("keys")
def keys_group() -> None:
    """Gateway keys: list, create, change, revoke."""


@keys_group.command("list")
@click.option("--all", "include_revoked", is_flag=True, help="Revoked keys too.")
@as_json
def list_keys(*, include_revoked: bool, as_json: bool) -> None:
    """List the keys."""
    answer = call("GET", KEYS_PATH, query={"all": "true"} if include_revoked else None)
    if as_json:
        print_json(answer)
        return
    if not answer["keys"]:
        click.echo("No keys. Create one: nself claw api keys create --name NAME")
        return
    cells = [_key_cells(key) for key in answer["keys"]]
    hidden = set() if include_revoked else {"Active"}
    if all(key["monthly_budget_usd"] is None for key in answer["keys"]):
        hidden.add("Budget")
    columns = [column for column in cells[0] if column not in hidden]
    print_table(columns, [[row[column] for column in columns] for row in cells])


@keys_group.command("create")
@click.option("--name", required=True, help="What the key is for.")
@click.option("--admin", is_flag=True, help="May use admin mode.")
@click.option("--rpm", type=rpm_range, default=60, show_default=True, help="Requests a minute.")
@click.option("--budget", type=dollars, metavar="USD", default=NO_BUDGET, show_default=True, help=BUDGET_HELP)
@as_json
def create_key(*, name: str, admin: bool, rpm: int, budget: float | str, as_json: bool) -> None:
    """Create a key and show it, once."""
    limits = {"rpm_limit": rpm, **({} if budget == NO_BUDGET else {"monthly_budget_usd": budget})}
    answer = call("POST", KEYS_PATH, body={"name": name, "admin_allowed": admin, **limits})
    if as_json:
        print_json(answer)
        return
    click.echo(f"Key:    {answer['key']}")
    click.echo("Store it now: it will not be shown again.")
    _print_key(answer)


@keys_group.command("update")
@click.argument("key_id", metavar="ID")
@click.option("--name", help="What the key is for.")
@click.option("--admin/--no-admin", default=None, help="Whether it may use admin mode.")
@click.option("--rpm", type=rpm_range, help="Requests a minute.")
@click.option("--budget", type=dollars, metavar="USD", help=BUDGET_HELP)
@as_json
def update_key(
    *, key_id: str, name: str | None, admin: bool | None, rpm: int | None, budget: float | str | None, as_json: bool
) -> None:
    """Change a key; it has effect at once."""
    wanted = {"name": name, "admin_allowed": admin, "rpm_limit": rpm, "monthly_budget_usd": budget}
    change: dict[str, object] = {field: value for field, value in wanted.items() if value is not None}
    if not change:
        raise click.ClickException("Nothing to change: give --name, --rpm, --budget, --admin or --no-admin.")
    if budget == NO_BUDGET:
        change["monthly_budget_usd"] = None
    answer = call("PATCH", f"{KEYS_PATH}/{_path_part(key_id)}", body=change)
    if as_json:
        print_json(answer)
        return
    _print_key(answer)


@keys_group.command("revoke")
@click.argument("key_id", metavar="ID")
@as_json
def revoke_key(*, key_id: str, as_json: bool) -> None:
    """Revoke a key, for good."""
    path_part = _path_part(key_id)
    answer = call("DELETE", f"{KEYS_PATH}/{path_part}")
    if as_json:
        print_json(answer)
        return
    click.echo(f"Key {path_part} is revoked.")


@api_group.command("usage")
@click.option("--key", "key_id", metavar="ID", help="Only this key's; `internal` for the internal token's.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="How many at most.")
@as_json
def show_usage(*, key_id: str | None, limit: int, as_json: bool) -> None:
    """Show the requests, newest first."""
    query: dict[str, str | int] = {"limit": limit, **({"key_id": key_id} if key_id else {})}
    answer = call("GET", USAGE_PATH, query=query)
    if as_json:
        print_json(answer)
        return
    if not answer["usage"]:
        click.echo("No usage yet.")
        return
    columns = ("Key ID", "Prompt", "Compl", "Model", "Time", "Status")
    print_table(columns, [_usage_row(entry) for entry in answer["usage"]])


@api_group.command("budget")
@as_json
def show_budget(*, as_json: bool) -> None:
    """Show what this month may cost, and what it has cost."""
    answer = call("GET", BUDGET_PATH)
    if as_json:
        print_json(answer)
        return
    click.echo(f"Month:      {answer['month']}, until {answer['resets_at']}")
    click.echo(f"Limit:      {_usd(answer['limit_usd'])}")
    click.echo(f"Spent:      {_usd(answer['spent_usd'])}")
    click.echo(f"Reserved:   {_usd(answer['held_usd'])}")
    if answer["remaining_usd"] is not None:
        click.echo(f"Remaining:  {_usd(answer['remaining_usd'])}")
    if answer["keys"]:
        rows = [
            (
                key["key_id"],
                key["key_name"],
                *(_usd(key[sum_usd]) for sum_usd in ("limit_usd", "spent_usd", "held_usd")),
            )
            for key in answer["keys"]
        ]
        print_table(("Key ID", "Name", "Limit", "Spent", "Reserved"), rows)


@api_group.command("test")
@click.option("--url", help="The gateway's, with or without /v1.")
@click.option("--key", "secret", help="The gateway key to use; without it, the internal token.")
@click.option("--verbose", is_flag=True, help="List the models.")
@as_json
def test_gateway(*, url: str | None, secret: str | None, verbose: bool, as_json: bool) -> None:
    """Check that the gateway answers and accepts the key."""
    headers = {"authorization": f"Bearer {secret}"} if secret else internal_headers()
    models = [model["id"] for model in call("GET", "/v1/models", url=url, headers=headers).get("data", [])]
    if as_json:
        print_json({"reachable": True, "url": gateway_url(url) + "/v1", "model_count": len(models), "models": models})
        return
    click.echo(f"Gateway is reachable. {len(models)} models available.")
    if verbose:
        for model in models:
            click.echo(f"  {model}")


def _path_part(key_id: str) -> str:
    """An id as it stands in a path.

    Raises:
        ClickException: it is none.
    """
    path_part = _NOT_IN_AN_ID.sub("", key_id)
    if not path_part:
        raise click.ClickException(f"{key_id!r} is not the id of a key; `nself claw api keys list` shows them.")
    return path_part


def _print_key(key: dict[str, Any]) -> None:
    click.echo(f"ID:     {key['id']}")
    click.echo(f"Name:   {key['name']}")
    click.echo(f"RPM:    {key['rpm_limit']}")
    click.echo(f"Admin:  {_yes_no(key['admin_allowed'])}")
    if key["monthly_budget_usd"] is not None:
        click.echo(f"Budget: {_usd(key['monthly_budget_usd'])} a month")


def _key_cells(key: dict[str, Any]) -> dict[str, object]:
    return {
        "ID": key["id"],
        "Name": key["name"],
        "RPM": key["rpm_limit"],
        "Admin": _yes_no(key["admin_allowed"]),
        "Created": _time(key["created_at"]),
        "Active": _yes_no(key["is_active"]),
        "Budget": _usd(key["monthly_budget_usd"]),
    }


def _usage_row(entry: dict[str, Any]) -> tuple[object, ...]:
    tokens = (entry["prompt_tokens"], entry["completion_tokens"])
    return (entry["key_id"], *tokens, entry["model"], _time(entry["created_at"]), entry["status"])


def _yes_no(value: object) -> str:
    return "yes" if value else "no"


def _usd(sum_usd: float | None) -> str:
    """US dollars, to the cent or as exactly as they are known."""
    if sum_usd is None:
        return NO_BUDGET
    whole, _, rest = f"{sum_usd:.6f}".partition(".")
    return f"${whole}.{rest.rstrip('0').ljust(2, '0')}"


def _time(stamp: str) -> str:
    """An ISO time to the second, without a space in it: `2026-11-23T03:12:00Z`."""
    return re.sub(r"\.\d+", "", stamp)
