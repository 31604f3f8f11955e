"""`nself claw api keys`: the gateway's keys, over its HTTP API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click

from cli.api_client import call
from cli.cells import seconds, usd, yes_no
from cli.operator.prompts import prompt_id
from cli.options import (
    NONE,
    Meaningless,
    as_json,
    dollars,
    moment,
    on_or_off,
    span_s,
    tokens_or_none,
    visible_name,
    wide,
)
from cli.tables import print_json, print_table
from shared.settings import MAX_RPM_LIMIT
from shared.types import TIERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEYS_PATH: Final = "/claw/v1/api-keys"
BUDGET_HELP: Final = "US dollars that it may spend at paid APIs in a month; 0: nothing, none: no bound of its own."
rpm_range: Final = click.IntRange(1, MAX_RPM_LIMIT)
_MOST_WANTED: Final = ("ID", "Name", "Last used", "RPM", "TPM", "Budget", "Models", "Tiers", "Expires", "Active")
_NOT_IN_AN_ID: Final = re.compile(r"[^a-fA-F0-9-]")
_ALL: Final = "all"
_BOUNDS: Final = (
    click.option("--model", "models", multiple=True, metavar="PATTERN",
                 help="A model that it may use (gpt-4o, 'llama*', auto); several times for several. all: every one."),
    click.option("--tier", "tiers", multiple=True, type=click.Choice([*TIERS, _ALL]),
                 help="A tier that it may use; several times for several."),
    click.option("--tpm", type=tokens_or_none, metavar="N",
                 help="Tokens a minute, of prompts and answers together; none: no such bound."),
    click.option("--expires", type=moment, metavar="WHEN",
                 help="Until when it is valid: 12h, 30d, 2027-01-31; none: for good."),
    click.option("--comments/--no-comments", default=None,
                 help="Whether its streams have comments, which keep them alive and tell places in queues."),
)  # fmt: skip


def _bounds_options(command: Callable[..., Any]) -> Callable[..., Any]:
    # The last one that is applied is the first in --help.
    for option in reversed(_BOUNDS):
        command = option(command)
    return command


def _bounds(
    models: Sequence[str], tiers: Sequence[str], expires: str | None, tpm: int | str | None, *, comments: bool | None
) -> dict[str, object]:
    """Return the fields of those bounds that are given."""
    found: dict[str, object] = {}
    if models:
        found["allowed_models"] = [] if _ALL in models else list(models)
    if tiers:
        found["allowed_tiers"] = [] if _ALL in tiers else list(tiers)
    if expires is not None:
        found["expires_at"] = None if expires == NONE else expires
    if tpm is not None:
        found["tokens_per_minute"] = None if tpm == NONE else tpm
    if comments is not None:
        found["stream_comments"] = comments
    return found


@click.group("keys")
def keys_group() -> None:
    """List, create, change, rotate and revoke gateway keys."""


@keys_group.command("list")
@click.option("--all", "include_revoked", is_flag=True, help="Revoked keys too.")
@wide
@as_json
def list_keys(*, include_revoked: bool, wide: bool, as_json: bool) -> None:
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
    # Bounds that no key has say nothing.
    hidden |= {column for column in ("TPM", "Models", "Tiers", "Expires") if not any(row[column] for row in cells)}
    if all(key["monthly_budget_usd"] is None for key in answer["keys"]):
        hidden.add("Budget")
    columns = [column for column in cells[0] if column not in hidden]
    rows = [[row[column] for column in columns] for row in cells]
    print_table(columns, rows, wide=wide, most_wanted=_MOST_WANTED)


@keys_group.command("create")
@click.option("--name", type=visible_name, metavar="TEXT", required=True, help="What the key is for.")
@click.option("--admin", is_flag=True, help="May use admin mode.")
@click.option("--rpm", type=rpm_range, default=60, show_default=True, help="Requests a minute.")
@click.option("--budget", type=dollars, metavar="USD", default=NONE, show_default=True, help=BUDGET_HELP)
@click.option("--prompt", metavar="ID|NAME", help="A system prompt of its own.")
@_bounds_options
@as_json
def create_key(
    *,
    name: str,
    admin: bool,
    rpm: int,
    budget: float | str,
    prompt: str | None,
    models: tuple[str, ...],
    tiers: tuple[str, ...],
    tpm: int | str | None,
    expires: str | None,
    comments: bool | None,
    as_json: bool,
) -> None:
    """Create a key and show it, once."""
    limits: dict[str, object] = {"rpm_limit": rpm, **({} if budget == NONE else {"monthly_budget_usd": budget})}
    limits |= {} if prompt is None else {"system_prompt_id": prompt_id(prompt)}
    limits |= _bounds(models, tiers, expires, tpm, comments=comments)
    answer = call("POST", KEYS_PATH, body={"name": name, "admin_allowed": admin, **limits})
    if as_json:
        print_json(answer)
        return
    click.echo(f"Key:    {answer['key']}")
    click.echo("Store it now: it will not be shown again.")
    _print_key(answer)


@keys_group.command("update")
@click.argument("key_id", metavar="ID")
@click.option("--name", type=visible_name, metavar="TEXT", help="What the key is for.")
@on_or_off("admin", "no-admin", "admin", "It may use admin mode.")
@click.option("--rpm", type=rpm_range, help="Requests a minute.")
@click.option("--budget", type=dollars, metavar="USD", help=BUDGET_HELP)
@click.option("--prompt", metavar="ID|NAME|none", help="A system prompt of its own; none: the default.")
@_bounds_options
@as_json
def update_key(
    *,
    key_id: str,
    name: str | None,
    admin: bool | None,
    rpm: int | None,
    budget: float | str | None,
    prompt: str | None,
    models: tuple[str, ...],
    tiers: tuple[str, ...],
    tpm: int | str | None,
    expires: str | None,
    comments: bool | None,
    as_json: bool,
) -> None:
    """Change a key; it has effect at once."""
    wanted = {"name": name, "admin_allowed": admin, "rpm_limit": rpm, "monthly_budget_usd": budget}
    if prompt is not None:
        wanted["system_prompt_id"] = NONE if prompt.lower() == NONE else prompt_id(prompt)
    # A key may well be called "none".
    change: dict[str, object] = {field: None if value == NONE and field != "name" else value
              for field, value in wanted.items() if value is not None}  # fmt: skip
    change |= _bounds(models, tiers, expires, tpm, comments=comments)
    if not change:
        raise Meaningless("Nothing to change: give an option; --help lists them.")
    answer = call("PATCH", f"{KEYS_PATH}/{id_in_path(key_id)}", body=change)
    if as_json:
        print_json(answer)
        return
    _print_key(answer)
    if budget == NONE:
        click.echo("Budget: no budget")


@keys_group.command("rotate")
@click.argument("key_id", metavar="ID")
@click.option(
    "--grace",
    "grace_s",
    type=span_s,
    metavar="SPAN",
    default="24h",
    show_default=True,
    help="How long the secret before works still: 30m, 12h, 7d; 0: not at all.",
)
@as_json
def rotate_key(*, key_id: str, grace_s: int, as_json: bool) -> None:
    """Give a key another secret and show it, once; its id, limits and usage stay."""
    answer = call("POST", f"{KEYS_PATH}/{id_in_path(key_id)}/rotate", body={"grace_s": grace_s})
    if as_json:
        print_json(answer)
        return
    click.echo(f"Key:    {answer['key']}")
    click.echo("Store it now: it will not be shown again.")
    until = answer["old_key_valid_until"]
    click.echo(
        "The secret before is refused from now on."
        if until is None
        else f"The secret before works until {seconds(until)}."
    )
    _print_key(answer)


@keys_group.command("revoke")
@click.argument("key_id", metavar="ID")
@as_json
def revoke_key(*, key_id: str, as_json: bool) -> None:
    """Revoke a key, for good."""
    path_part = id_in_path(key_id)
    answer = call("DELETE", f"{KEYS_PATH}/{path_part}")
    if as_json:
        print_json(answer)
        return
    click.echo(f"Key {path_part} is revoked.")


def id_in_path(key_id: str) -> str:
    """Return an id as it stands in a path.

    Raises:
        Meaningless: it is none.
    """
    # Nothing that could lead to another URL stays, quotes and spaces of a copied id neither.
    path_part = _NOT_IN_AN_ID.sub("", key_id)
    if not path_part:
        raise Meaningless(f"{key_id!r} is not the id of a key; `nself claw api keys list` shows them.")
    return path_part


def _print_key(key: dict[str, Any]) -> None:
    click.echo(f"ID:     {key['id']}")
    click.echo(f"Name:   {key['name']}")
    click.echo(f"RPM:    {key['rpm_limit']}")
    if key.get("tokens_per_minute") is not None:
        click.echo(f"TPM:    {key['tokens_per_minute']}")
    click.echo(f"Admin:  {yes_no(key['admin_allowed'])}")
    if not key.get("stream_comments", True):
        click.echo("Stream: without comments")
    if key["monthly_budget_usd"] is not None:
        click.echo(f"Budget: {usd(key['monthly_budget_usd'])} a month")
    if key.get("system_prompt_id") is not None:
        click.echo(f"Prompt: {key['system_prompt_id']}")
    for label, field in (("Models:", "allowed_models"), ("Tiers: ", "allowed_tiers")):
        if key.get(field):
            click.echo(f"{label} {', '.join(key[field])}")
    if key.get("expires_at") is not None:
        click.echo(f"Until:  {seconds(key['expires_at'])}")


def _key_cells(key: dict[str, Any]) -> dict[str, object]:
    return {
        "ID": key["id"],
        "Name": key["name"],
        "RPM": key["rpm_limit"],
        "TPM": key.get("tokens_per_minute"),
        "Admin": yes_no(key["admin_allowed"]),
        "Created": seconds(key["created_at"]),
        "Prefix": key["key_prefix"],
        "Last used": seconds(key["last_used_at"]),
        "Active": yes_no(key["is_active"]),
        "Budget": usd(key["monthly_budget_usd"]),
        "Models": ", ".join(key.get("allowed_models", ())),
        "Tiers": ", ".join(key.get("allowed_tiers", ())),
        "Expires": seconds(key.get("expires_at")),
    }
