"""`nself claw gemini`: the accounts of the Gemini tier, over the gateway's HTTP API."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import click

from cli.api_client import ai_url, call, call_for_array
from cli.tables import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Callable

ACCOUNTS_PATH: Final = "/ai/gemini/accounts"
NONE_YET: Final = "No Gemini accounts. Add one: nself claw gemini add EMAIL"

as_json: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
limit = click.IntRange(1)


@click.group("gemini")
def gemini_group() -> None:
    """The accounts of the Gemini tier: their quotas add up."""


@gemini_group.command("add")
@click.argument("email")
@click.option("--key", "api_key", help="Its API key. Better: leave it out and be asked, or pipe it in.")
@click.option("--project", help="The Google Cloud project; keys of one project share its quota.")
@click.option("--rpm", type=limit, help="Requests a minute, instead of the model's usual limit.")
@click.option("--tpm", type=limit, help="Prompt tokens a minute.")
@click.option("--rpd", type=limit, help="Requests a day (US Pacific).")
@as_json
def add_account(
    *,
    email: str,
    api_key: str | None,
    project: str | None,
    rpm: int | None,
    tpm: int | None,
    rpd: int | None,
    as_json: bool,
) -> None:
    """Add an account; EMAIL names it. Its key comes from --key, a hidden prompt, or standard input."""
    wanted = {
        "account_email": email,
        "api_key": (api_key or _asked_key()).strip(),
        "project": project,
        "requests_per_minute": rpm,
        "prompt_tokens_per_minute": tpm,
        "requests_per_day": rpd,
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    account = call("POST", ACCOUNTS_PATH, url=ai_url(), body=given)
    if as_json:
        print_json(account)
        return
    click.echo(f"Account {account['account_email']} is added ({account['id']}).")
    if not project:
        click.echo("Its key counts as a project of its own; name the project where several keys are of one: --project.")


@gemini_group.command("list")
@as_json
def list_accounts(*, as_json: bool) -> None:
    """List the accounts, those of the environment too."""
    accounts = call_for_array("GET", ACCOUNTS_PATH, url=ai_url())
    if as_json:
        print_json(accounts)
        return
    if not accounts:
        click.echo(NONE_YET)
        return
    columns = ("Account", "Source", "Project", "Enabled", "State", "Requests today", "Tokens today", "ID")
    print_table(columns, [_account_row(account) for account in accounts])


@gemini_group.command("status")
@as_json
def show_status(*, as_json: bool) -> None:
    """Show how far the quotas are used, for each account and model, and what is wrong with an account."""
    accounts = call_for_array("GET", ACCOUNTS_PATH, url=ai_url())
    if as_json:
        print_json(accounts)
        return
    if not accounts:
        click.echo(NONE_YET)
        return
    columns = ("Account", "Model", "State", "Requests/min", "Tokens/min", "Requests/day", "Day resets", "Until")
    print_table(columns, [row for account in accounts for row in _status_rows(account)])
    for account in accounts:
        if account["last_error"]:
            click.echo(f"{account['account_email']}: {account['state']}: {account['last_error']}", err=True)


@gemini_group.command("remove")
@click.argument("account", metavar="EMAIL_OR_ID")
@as_json
def remove_account(*, account: str, as_json: bool) -> None:
    """Remove an account that was added."""
    answer = call("DELETE", f"{ACCOUNTS_PATH}/{quote(account, safe='@')}", url=ai_url())
    if as_json:
        print_json(answer)
        return
    click.echo(f"Account {account} is removed.")


def _asked_key() -> str:
    """The key, from a hidden prompt or, where there is no terminal, from the first line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt("API key", hide_input=True))
    key = sys.stdin.readline().strip()
    if not key:
        raise click.ClickException("No API key: give --key, or pipe it in.")
    return key


def _account_row(account: dict[str, Any]) -> tuple[object, ...]:
    used = (account["requests_used_today"], account["tokens_used_today"])
    enabled = "yes" if account["enabled"] else "no"
    return (
        *(account["account_email"], account["source"], account["project"], enabled, account["state"]),
        *used,
        account["id"],
    )


def _status_rows(account: dict[str, Any]) -> list[tuple[object, ...]]:
    name, state = account["account_email"], account["state"]
    if not account["models"] or state in {"rejected", "sealed"}:
        return [(name, None, state, None, None, None, None, _time(account["state_until"]))]
    return [
        (
            name,
            model["model"],
            model["state"],
            _of(model["requests_this_minute"], model["requests_per_minute"]),
            _of(model["prompt_tokens_this_minute"], model["prompt_tokens_per_minute"]),
            _of(model["requests_today"], model["requests_per_day"]),
            _time(model["day_resets_at"]),
            _time(model["state_until"]),
        )
        for model in account["models"]
    ]


def _of(used: int, most: int | None) -> str:
    return str(used) if most is None else f"{used}/{most}"


def _time(stamp: str | None) -> str | None:
    """An ISO time to the second."""
    return None if stamp is None else re.sub(r"\.\d+", "", stamp)
