"""`nself claw logs`: one request's story, from the usage log and the log files here."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import click

from cli.api_client import call, settings
from cli.operator.queue import QUEUE_PATH, story_line
from cli.options import as_json
from cli.tables import print_json, printable
from shared.queue.story import TRACED
from shared.queue.whole_story import whole_story

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_LINES: Final = 200
USAGE_PATH: Final = "/claw/v1/usage"


@click.command("logs")
@click.argument("request_id", metavar="REQUEST_ID")
@as_json
def logs(*, request_id: str, as_json: bool) -> None:
    """Show what a request went through: the id is that of the header x-request-id, or of an error."""
    try:
        identity = UUID(request_id.removeprefix("req_")).hex
    except ValueError:
        raise click.BadParameter("This is not the id of a request, as in the header x-request-id.") from None
    rows = call("GET", USAGE_PATH, query={"request_id": identity})["usage"]
    lines = list(islice(_log_lines(settings().data_dir / "log", identity), MOST_LINES))
    events = whole_story(rows[0]) if rows else []
    if as_json:
        print_json(
            {"request_id": "req_" + identity, "usage": rows[0] if rows else None, "events": events, "log": lines}
        )
        return
    if rows:
        _print_story(rows[0], events)
    elif (still_open := _open_request(identity)) is not None:
        click.echo(f"It is open: {printable(still_open['state'])}. See: nself claw queue show req_{identity}")
    else:
        click.echo("The usage log does not know it, and it is not open.", err=True)
    for line in lines:
        click.echo(printable(line))
    if not rows and not lines:
        raise SystemExit(1)


def _print_story(row: dict[str, Any], events: list[dict[str, Any]]) -> None:
    click.echo(f"Request:  req_{UUID(row['request_id']).hex}")
    click.echo(f"Key:      {printable(row['key_name'] or row['key_id'])} ({printable(row['key_id'])})")
    served = f", served by {row['model']} of the {row['tier']} tier" if row["tier"] else ""
    click.echo(f"Model:    {printable(row['asked_model'])}{printable(served)}")
    tokens = f"{row['prompt_tokens']} in, {row['completion_tokens']} out ({row['usage_source']})"
    click.echo(f"Tokens:   {tokens}, {row['cost_usd']:.6f} USD")
    click.echo(f"Ended:    {row['status']} {printable(row['error_code'] or '')}".rstrip())
    for event in events:
        click.echo(f"Trace:    {printable(event['detail'])}" if event["what"] == TRACED else story_line(event))


def _open_request(identity: str) -> dict[str, Any] | None:
    try:
        return call("GET", f"{QUEUE_PATH}/requests/{identity}")
    except click.ClickException:
        return None


def _log_lines(folder: Path, identity: str) -> Iterator[str]:
    """Yield the lines of the log files that name a request."""
    # The older half of each is in `name.log.1`.
    for path in sorted(folder.glob("*.log*")):
        try:
            with path.open(encoding="utf-8", errors="replace") as lines:
                yield from (f"{path.name}: {line.rstrip()}" for line in lines if identity in line)
        except OSError:
            continue
