"""`nself claw usage` and `stats`: what models were used for, and what that has cost or saved."""

from __future__ import annotations

from typing import Any, Final

import click

from cli.api_client import ai_url, call, call_for_array
from cli.cells import seconds, usd
from cli.options import as_json, wide
from cli.tables import print_json, print_table, printable

USAGE_PATH: Final = "/ai/usage"
STATS_PATH: Final = "/ai/stats/summary"
_COLUMNS: Final = ("Tier", "Provider/Model", "Prompt", "Compl", "Cached", "Cost", "Time")


@click.command("usage")
@click.option("--today", "period", flag_value="today", help="Of this day, in UTC.")
@click.option("--week", "period", flag_value="week", help="Of the last seven days.")
@click.option("--month", "period", flag_value="month", help="Of this month.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="How many at most.")
@wide
@as_json
def usage(*, period: str | None, limit: int, wide: bool, as_json: bool) -> None:
    """Show what models were used for, newest first; of all times unless an option says which."""
    rows = call_for_array("GET", f"{USAGE_PATH}?period={period or 'all'}&limit={limit}", url=ai_url())
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("No usage yet.")
    else:
        print_table(_COLUMNS, [_row(each) for each in rows], wide=wide)


@click.command("stats")
@as_json
def stats(*, as_json: bool) -> None:
    """Show requests, costs and savings of this day and this month (UTC), by tier and model."""
    found = call("GET", STATS_PATH, url=ai_url())
    if as_json:
        print_json(found)
        return
    click.echo(f"Today:       {found['requests_today']} requests, {found['tokens_today']} tokens, "
               f"{usd(found['cost_usd_today'])}")  # fmt: skip
    click.echo(f"This month:  {found['requests_month']} requests, {usd(found['cost_usd_month'])}, "
               f"about {usd(found['savings_usd_month'])} saved")  # fmt: skip
    for label, field in (("local", "local_requests_pct"), ("Gemini", "free_gemini_pct"), ("paid", "paid_api_pct")):
        click.echo(f"  {label + ':':<11}{found[field]:g} %")
    click.echo(f"  {'cached:':<11}{found['cache_hit_rate']:g} %")
    for each in found["top_models"]:
        click.echo(f"  {printable(each['model'])}: {each['requests']}")


def _row(entry: dict[str, Any]) -> tuple[object, ...]:
    return (
        entry["tier_source"],
        f"{entry['provider']}/{entry['model']}",
        entry["prompt_tokens"],
        entry["completion_tokens"],
        "yes" if entry["is_cached"] else "no",
        usd(entry["cost_usd"]),
        seconds(entry["created_at"]),
    )
