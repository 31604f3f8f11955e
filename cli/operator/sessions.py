"""`nself claw sessions`: the chats that the gateway stores, over its HTTP API."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any, Final
from uuid import UUID

import click

from cli.api_client import call, download
from cli.cells import seconds, yes_no
from cli.options import as_json, wide
from cli.tables import print_json, print_table, printable

SESSIONS_PATH: Final = "/claw/sessions"
MOST_LISTED: Final = 1000
_LARGEST_PAGE: Final = 100  # the API's own bound
_COLUMNS: Final = ("ID", "Title", "Messages", "Last used", "Key ID", "Admin", "Archived", "Created")
_MOST_WANTED: Final = ("ID", "Title", "Messages", "Last used")
_FORMATS: Final = ("markdown", "json")


def session_id_from(text: str) -> str:
    """Parse the id of a session.

    Raises:
        BadParameter: it is none.
    """
    try:
        return str(UUID(text))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not the id of a session; `nself claw sessions list` shows them."
        ) from None


_session = click.argument("session_id", metavar="ID", type=session_id_from)


@click.group("sessions")
def sessions_group() -> None:
    """Look at the chats that are stored, and tidy them up."""


@sessions_group.command("list")
@click.option("--key", "key_id", metavar="ID", help="Only this key's; `internal` for the internal token's.")
@click.option("--archived", is_flag=True, help="The archived ones in place of the others.")
@click.option("--limit", type=click.IntRange(1, MOST_LISTED), default=50, show_default=True, help="How many at most.")
@wide
@as_json
def list_sessions(*, key_id: str | None, archived: bool, limit: int, wide: bool, as_json: bool) -> None:
    """List the sessions, the last used first."""
    query = {"archived": "true"} if archived else {}
    found = _pages(SESSIONS_PATH, query | ({"key_id": key_id} if key_id else {}), limit)
    if as_json:
        print_json({"sessions": found})
        return
    if not found:
        click.echo("No session is archived." if archived else "No sessions. Begin one: nself claw chat")
        return
    _print(found, wide=wide)


@sessions_group.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--key", "key_id", metavar="ID", help="Only this key's; `internal` for the internal token's.")
@click.option("--limit", type=click.IntRange(1, _LARGEST_PAGE), default=20, show_default=True, help="How many at most.")
@as_json
def search_sessions(*, words: tuple[str, ...], key_id: str | None, limit: int, as_json: bool) -> None:
    """Find sessions by words of their messages and titles: all of them, "a phrase", one OR another, -without."""
    query: dict[str, str | int] = {"q": " ".join(words), "page_size": limit, **({"key_id": key_id} if key_id else {})}
    answer = call("GET", f"{SESSIONS_PATH}/search", query=query)
    if as_json:
        print_json(answer)
        return
    if not answer["sessions"]:
        click.echo("Nothing was found.")
        return
    rows = [
        (each["id"], _title(each), seconds(each["last_message_at"]), each["excerpt"]) for each in answer["sessions"]
    ]
    print_table(("ID", "Title", "Last used", "Excerpt"), rows)


@sessions_group.command("show")
@_session
@click.option("--limit", type=click.IntRange(1, MOST_LISTED), default=20, show_default=True, help="How many at most.")
@as_json
def show_session(*, session_id: str, limit: int, as_json: bool) -> None:
    """Show the last messages of a session, the oldest of them first."""
    messages = last_messages(session_id, limit)
    if as_json:
        print_json({"messages": messages[::-1]})  # as the API does, newest first
        return
    for message in messages:
        by = f" ({message['tier_source']}, {message['model']})" if message.get("model") else ""
        state = "" if message["state"] == "complete" else f" [{message['state']}]"
        click.secho(f"{message['id']} {message['role']}{printable(by)}{state}", bold=True)
        for line in message["content"].splitlines():
            click.echo(printable(line))
        click.echo()


@sessions_group.command("rename")
@_session
@click.argument("title")
@as_json
def rename_session(*, session_id: str, title: str, as_json: bool) -> None:
    """Give a session a title of your own; an empty one takes it away."""
    _done(change_title(session_id, title), "The session has this title now.", as_json=as_json)


@sessions_group.command("archive")
@_session
@click.option("--undo", is_flag=True, help="Bring it back into the list.")
@as_json
def archive_session(*, session_id: str, undo: bool, as_json: bool) -> None:
    """Leave a session out of the list; it can still be continued."""
    answer = call("PATCH", f"{SESSIONS_PATH}/{session_id}", body={"archived": not undo})
    _done(answer, "The session is in the list again." if undo else "The session is archived.", as_json=as_json)


@sessions_group.command("delete")
@_session
@as_json
def delete_session(*, session_id: str, as_json: bool) -> None:
    """Delete a session and all its messages, for good."""
    _done(call("DELETE", f"{SESSIONS_PATH}/{session_id}"), "The session is deleted.", as_json=as_json)


@sessions_group.command("branch")
@_session
@click.option("--at", "message_id", metavar="MESSAGE_ID", help="The last message that it shall have; else all.")
@as_json
def branch_session(*, session_id: str, message_id: str | None, as_json: bool) -> None:
    """Make a new session of the messages up to one, as `show` lists them; the old one stays as it is."""
    body = {"message_id": message_id} if message_id else {}
    answer = call("POST", f"{SESSIONS_PATH}/{session_id}/branch", body=body)
    _done(answer, f"{answer['id']} has {answer['message_count']} messages.", as_json=as_json)


@sessions_group.command("export")
@_session
@click.option("--format", "format_", type=click.Choice(_FORMATS), default="markdown", show_default=True)
@click.option("--output", "file", type=click.File("wb", lazy=True), default="-", metavar="PATH", help="Where to.")
def export_session(*, session_id: str, format_: str, file: IO[bytes]) -> None:
    """Write a whole session as Markdown or JSON."""
    for part in download(f"{SESSIONS_PATH}/{session_id}/export", query={"format": format_}):
        file.write(part)
    if file.name not in {"-", "<stdout>"}:
        click.echo(f"Written to {Path(file.name).name}.", err=True)


def print_sessions(*, limit: int, url: str | None = None) -> None:
    """Print the last sessions as a table."""
    found = _pages(SESSIONS_PATH, {}, limit, url=url)
    if not found:
        click.echo("No sessions.")
        return
    _print(found, wide=False)


def change_title(session_id: str, title: str, *, url: str | None = None) -> dict[str, Any]:
    """Give a session a title; empty: none."""
    return call("PATCH", f"{SESSIONS_PATH}/{session_id}", body={"title": title.strip() or None}, url=url)


def last_messages(session_id: str, limit: int, *, url: str | None = None) -> list[dict[str, Any]]:
    """Return the last messages of a session, the oldest of them first."""
    found: list[dict[str, Any]] = []
    query: dict[str, str | int] = {}
    while len(found) < limit:
        query["limit"] = min(limit - len(found), _LARGEST_PAGE)
        answer = call("GET", f"{SESSIONS_PATH}/{session_id}/messages", query=query, url=url)
        found += answer["messages"]
        if not answer["has_more"]:
            break
        query["before"] = found[-1]["id"]
    # The API gives the newest first.
    return found[::-1]


def _pages(path: str, query: dict[str, str], limit: int, *, url: str | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page: dict[str, str | int] = {**query}
    while len(found) < limit:
        page["page_size"] = min(limit - len(found), _LARGEST_PAGE)
        answer = call("GET", path, query=page, url=url)
        found += answer["sessions"]
        if not answer.get("next_cursor"):
            break
        page["cursor"] = answer["next_cursor"]
    return found


def _print(sessions: list[dict[str, Any]], *, wide: bool) -> None:
    rows = [
        (
            *(each["id"], _title(each), each["message_count"], seconds(each["last_message_at"]), each["key_id"]),
            *(yes_no(each["is_admin_mode"]), yes_no(each["archived"]), seconds(each["created_at"])),
        )
        for each in sessions
    ]
    print_table(_COLUMNS, rows, wide=wide, most_wanted=_MOST_WANTED)


def _title(session: dict[str, Any]) -> str:
    return str(session["title"] or session["auto_title"] or "")


def _done(answer: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    click.echo(text)
