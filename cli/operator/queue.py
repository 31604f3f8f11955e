"""`nself claw queue`: what waits and runs, where, and what to do about it, over the management API."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli.api_client import call
from cli.cells import seconds
from cli.options import as_json, wide
from cli.tables import print_json, print_table, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

QUEUE_PATH: Final = "/claw/queue"
REFRESH_S: Final = 1.0
_COLUMNS: Final = (
    "Backend", "State", "Waiting", "Oldest", "Expected", "Running", "Slots", "In/min", "Out/min", "Workers", "Models",
)  # fmt: skip


@click.group("queue", invoke_without_command=True)
@click.option("--watch", is_flag=True, help="Show it live, until Ctrl-C.")
@wide
@as_json
@click.pass_context
def queue_group(context: click.Context, *, watch: bool, wide: bool, as_json: bool) -> None:
    """Show what waits and runs at each backend; the commands below look closer, or act."""
    if context.invoked_subcommand is not None:
        return
    if watch and not as_json and sys.stdout.isatty():
        _watch()
        return
    answer = call("GET", QUEUE_PATH)
    if as_json:
        print_json(answer)
        return
    if not answer["backends"]:
        click.echo("No worker serves anything now. `nself claw status` says what is missing.")
        return
    print_table(_COLUMNS, [_row(each) for each in answer["backends"]], wide=wide)


@queue_group.command("list")
@click.option("--key", metavar="ID", help="Of one key; `internal` for the internal token.")
@click.option("--model", metavar="NAME", help="Of one model, as asked for or as served.")
@click.option("--tier", type=click.Choice(["local", "gemini", "paid"]), help="Of one tier.")
@click.option("--backend", metavar="NAME", help="Of one backend.")
@click.option("--state", type=click.Choice(["waiting", "running"]), help="Only those that wait, or run.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most.")
@wide
@as_json
def list_requests(*, limit: int, wide: bool, as_json: bool, **filters: str | None) -> None:
    """List the requests that wait and run, by their turns."""
    filters["key_id"] = filters.pop("key")
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None and len(found) < limit:
        query: dict[str, str | int] = {name: value for name, value in filters.items() if value}
        # The API gives no more than 200 at a time.
        query |= {"limit": min(200, limit - len(found))} | ({"cursor": cursor} if cursor else {})
        answer = call("GET", f"{QUEUE_PATH}/requests", query=query)
        found += answer["requests"]
        cursor = answer["next_cursor"]
    if as_json:
        print_json({"requests": found, "next_cursor": cursor})
        return
    if not found:
        click.echo("Nothing waits or runs." if not any(filters.values()) else "No such request waits or runs.")
        return
    columns = ("Request", "State", "Place", "Age", "Backend", "Model", "Asked", "Key", "Attempt", "Priority")
    print_table(columns, [_request_row(each) for each in found], wide=wide)
    if cursor is not None:
        click.echo(f"There are more: --limit {2 * limit}", err=True)


@queue_group.command("show")
@click.argument("request_id", metavar="ID")
@click.option("--body", is_flag=True, help="With the prompt, while the request is in Redis. That is audited.")
@as_json
def show_request(*, request_id: str, body: bool, as_json: bool) -> None:
    """Show where a request is and what it went through."""
    answer = call("GET", f"{QUEUE_PATH}/requests/{request_id}", query={"body": "true"} if body else None)
    if as_json:
        print_json(answer)
        return
    for name, value in answer.items():
        if name not in {"story", "job"}:
            click.echo(
                f"{name.replace('_', ' ').capitalize() + ':':<18}{printable('-' if value is None else str(value))}"
            )
    for event in answer.get("story", ()):
        click.echo(story_line(event))
    if body:
        click.echo(_prompt(answer.get("job")))


def _prompt(job: dict[str, Any] | None) -> str:
    """Return what a client asked, as JSON that a terminal may show."""
    body = (job or {}).get("k", {}).get("body")
    if body is None:
        return "The prompt is not in Redis any more."
    return "\n".join(map(printable, json.dumps(body, indent=2, ensure_ascii=False).split("\n")))


@queue_group.command("cancel")
@click.argument("request_id", metavar="ID")
@as_json
def cancel_request(*, request_id: str, as_json: bool) -> None:
    """Cancel a request: its client is told so."""
    answer = call("DELETE", f"{QUEUE_PATH}/requests/{request_id}")
    name = printable(answer["request_id"])
    ended = f"Cancelled {name}."
    _done(answer, ended if answer["cancelled"] else f"{name} is told to stop, and has not yet.", as_json=as_json)


@queue_group.command("pause")
@click.argument("backend")
@as_json
def pause_backend(*, backend: str, as_json: bool) -> None:
    """Let a backend take no more: what runs goes on, what waits moves on where another can serve it."""
    answer = call("POST", f"{QUEUE_PATH}/pause", body={"backend": backend})
    name = printable(backend)
    _done(answer, f"{name} is paused. It goes on with: nself claw queue resume {name}", as_json=as_json)


@queue_group.command("resume")
@click.argument("backend")
@as_json
def resume_backend(*, backend: str, as_json: bool) -> None:
    """Let a paused backend go on."""
    answer = call("POST", f"{QUEUE_PATH}/resume", body={"backend": backend})
    _done(answer, f"{printable(backend)} goes on.", as_json=as_json)


@queue_group.command("workers")
@wide
@as_json
def list_workers(*, wide: bool, as_json: bool) -> None:
    """List the live workers: where they run, and what they serve."""
    answer = call("GET", f"{QUEUE_PATH}/workers")
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            *(each["id"], each["tier"], each["state"], each["running"], each["slots"]),
            *(", ".join(each["backends"]), each["host"], each["pid"], seconds(each["since"])),
        )
        for each in answer["workers"]
    ]
    print_table(("ID", "Tier", "State", "Running", "Slots", "Backends", "Host", "PID", "Since"), rows, wide=wide)


@queue_group.command("drain")
@click.argument("worker_id", metavar="WORKER")
@as_json
def drain_worker(*, worker_id: str, as_json: bool) -> None:
    """Let a worker take no more and end when what it runs has ended; `nself claw up` starts another in its place."""
    answer = call("POST", f"{QUEUE_PATH}/workers/{worker_id}/drain")
    _done(answer, f"The worker {printable(worker_id)} drains.", as_json=as_json)


def story_line(event: dict[str, Any]) -> str:
    """Return a line for an event of a request's story."""
    at = time.strftime("%H:%M:%S", time.localtime(event["at_ms"] / 1000))
    return f"{at}.{event['at_ms'] % 1000:03d}  {printable(event['what']):<10} {printable(event['detail'])}"


def _done(answer: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print that something is done, or what the gateway answered."""
    if as_json:
        print_json(answer)
    else:
        click.echo(text)


def _watch() -> None:
    with Live(console=Console(), auto_refresh=False, screen=True) as live:
        try:
            while True:
                answer = call("GET", QUEUE_PATH)
                live.update(_live_table([_row(each) for each in answer["backends"]]), refresh=True)
                time.sleep(REFRESH_S)
        except KeyboardInterrupt:
            pass


def _live_table(rows: Sequence[Sequence[object]]) -> Table:
    table = Table(title=f"Queues at {time.strftime('%H:%M:%S')} (Ctrl-C ends)", expand=True)
    for column in _COLUMNS:
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*(printable("-" if cell is None else str(cell)) for cell in row))
    return table


def _row(backend: dict[str, Any]) -> tuple[object, ...]:
    return (
        backend["backend"],
        backend["state"],
        backend["waiting"],
        _span(backend["oldest_wait_s"]),
        _span(backend["expected_wait_s"]),
        backend["running"],
        backend["slots"],
        backend["in_per_minute"],
        backend["out_per_minute"],
        len(backend["workers"]),
        ", ".join(backend["models"]),
    )


def _request_row(found: dict[str, Any]) -> tuple[object, ...]:
    return (
        *(found["request_id"], found["state"], found["position"], _span(found["age_s"]), found["backend"]),
        *(found["model"], found["requested_model"], found["key_id"], found["attempt"], found["priority"]),
    )


def _span(time_s: float | None) -> str | None:
    """Return a span of time for people."""
    if time_s is None:
        return None
    if time_s < 100:
        return f"{time_s:.1f} s"
    return f"{int(time_s // 60)} min" if time_s < 7200 else f"{int(time_s // 3600)} h"
