"""`nself claw gemini`: the accounts of the Gemini tier, over the gateway's HTTP API."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import click

from cli.api_client import ai_url, call, call_for_array
from cli.cells import seconds, yes_no
from cli.options import ASK, NONE, Meaningless, account_name, as_json, limit_or_none, on_or_off, secret_from, wide
from cli.tables import print_json, print_table
from shared.postgres.gemini_accounts import MAX_LIMIT

ACCOUNTS_PATH: Final = "/ai/gemini/accounts"
CHANGES: Final = {
    "api_key": "api_key",
    "project": "project",
    "rpm": "requests_per_minute",
    "tpm": "prompt_tokens_per_minute",
    "rpd": "requests_per_day",
    "enabled": "enabled",
}
"""The field of each option of `update`."""
NONE_YET: Final = "No Gemini accounts. Add one: nself claw gemini add EMAIL"
limit: Final = click.IntRange(1, MAX_LIMIT)


@click.group("gemini")
def gemini_group() -> None:
    """Manage the accounts of the Gemini tier: their quotas add up."""


@gemini_group.command("add")
@click.argument("email", type=account_name)
@click.option("--key", "api_key", default=ASK, help="Its API key. Better: leave it out and be asked, or pipe it in.")
@click.option("--project", help="The Google Cloud project; keys of one project share its quota.")
@click.option("--rpm", type=limit, help="Requests a minute, instead of the model's usual limit.")
@click.option("--tpm", type=limit, help="Prompt tokens a minute.")
@click.option("--rpd", type=limit, help="Requests a day (US Pacific).")
@as_json
def add_account(
    *,
    email: str,
    api_key: str,
    project: str | None,
    rpm: int | None,
    tpm: int | None,
    rpd: int | None,
    as_json: bool,
) -> None:
    """Add an account; EMAIL names it. Its key comes from --key, a hidden prompt, or standard input."""
    wanted = {
        "account_email": email,
        "api_key": secret_from(api_key, "API key"),
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
    if not _warn_of_same_key(account) and not project:
        click.echo("Its key counts as a project of its own; name the project where several keys are of one: --project.")


@gemini_group.command("update")
@click.argument("account", metavar="EMAIL_OR_ID")
@click.option("--key", "api_key", help="Another API key; - asks for it, or reads it from standard input.")
@click.option("--project", help="The Google Cloud project; none: its key counts as a project of its own.")
@click.option("--rpm", type=limit_or_none, metavar="N", help="Requests a minute; none: the model's usual limit.")
@click.option("--tpm", type=limit_or_none, metavar="N", help="Prompt tokens a minute; none as above.")
@click.option("--rpd", type=limit_or_none, metavar="N", help="Requests a day (US Pacific); none as above.")
@on_or_off("enable", "disable", "enabled", "The workers use it.")
@as_json
def update_account(*, account: str, as_json: bool, **options: Any) -> None:
    """Change an account that was added; what is not given stays."""
    change = {
        field: None if options[option] == NONE else options[option]
        for option, field in CHANGES.items()
        if options[option] is not None
    }
    if not change:
        raise Meaningless("Nothing to change: give --key, --project, --rpm, --tpm, --rpd, --enable or --disable.")
    if "api_key" in change:
        change["api_key"] = secret_from(options["api_key"], "API key")
    answer = call("PATCH", f"{ACCOUNTS_PATH}/{quote(account, safe='@')}", url=ai_url(), body=change)
    if as_json:
        print_json(answer)
        return
    click.echo(f"Account: {answer['account_email']} ({answer['id']})")
    click.echo(f"Project: {answer['project'] or 'its key is one of its own'}")
    click.echo(f"Enabled: {yes_no(answer['enabled'])}")
    for name, field in (
        ("RPM", "requests_per_minute"),
        ("TPM", "prompt_tokens_per_minute"),
        ("RPD", "requests_per_day"),
    ):
        click.echo(f"{name}:     {answer[field] or 'as usual for the model'}")
    _warn_of_same_key(answer)


@gemini_group.command("list")
@wide
@as_json
def list_accounts(*, wide: bool, as_json: bool) -> None:
    """List the accounts, those of the environment too."""
    accounts = call_for_array("GET", ACCOUNTS_PATH, url=ai_url())
    if as_json:
        print_json(accounts)
        return
    if not accounts:
        click.echo(NONE_YET)
        return
    columns = ("Account", "Source", "Project", "Enabled", "State", "Requests today", "Tokens today", "ID")
    wanted = ("Account", "State", "Enabled", "Requests today", "Tokens today", "Source", "Project", "ID")
    print_table(columns, [_account_row(account) for account in accounts], wide=wide, most_wanted=wanted)


@gemini_group.command("status")
@wide
@as_json
def show_status(*, wide: bool, as_json: bool) -> None:
    """Show how far the quotas are used, for each account and model, and what is wrong with an account."""
    accounts = call_for_array("GET", ACCOUNTS_PATH, url=ai_url())
    if as_json:
        print_json(accounts)
        return
    if not accounts:
        click.echo(NONE_YET)
        return
    columns = ("Account", "Model", "State", "Requests/min", "Tokens/min", "Requests/day", "Day resets", "Until")
    rows = [row for account in accounts for row in _status_rows(account)]
    wanted = ("Account", "State", "Model", "Requests/day", "Requests/min", "Until", "Tokens/min", "Day resets")
    print_table(columns, rows, wide=wide, most_wanted=wanted)
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


def _warn_of_same_key(account: dict[str, Any]) -> bool:
    """Warn where other accounts have the same key; return whether they do."""
    others = ", ".join(account.get("same_key_as", ()))
    if others:
        click.echo(f"Its key is that of {others} too: to Google they are one project, so it adds no quota.")
    return bool(others)


def _account_row(account: dict[str, Any]) -> tuple[object, ...]:
    used = (account["requests_used_today"], account["tokens_used_today"])
    return (
        *(account["account_email"], account["source"], account["project"]),
        *(yes_no(account["enabled"]), account["state"]),
        *used,
        account["id"],
    )


def _status_rows(account: dict[str, Any]) -> list[tuple[object, ...]]:
    name, state = account["account_email"], account["state"]
    if not account["models"] or state in {"rejected", "sealed"}:
        return [(name, None, state, None, None, None, None, seconds(account["state_until"]))]
    return [
        (
            name,
            model["model"],
            model["state"],
            _of(model["requests_this_minute"], model["requests_per_minute"]),
            _of(model["prompt_tokens_this_minute"], model["prompt_tokens_per_minute"]),
            _of(model["requests_today"], model["requests_per_day"]),
            seconds(model["day_resets_at"]),
            seconds(model["state_until"]),
        )
        for model in account["models"]
    ]


def _of(used: int, most: int | None) -> str:
    return str(used) if most is None else f"{used}/{most}"
