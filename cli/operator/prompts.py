"""`nself claw prompts`: the operator's own system prompts, over the gateway's HTTP API."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any, Final

import click

from cli.api_client import call
from cli.cells import seconds, yes_no
from cli.options import NONE, as_json, visible_name
from cli.tables import print_json, print_table
from shared.postgres.system_prompts import MAX_CONTENT_CHARS

PROMPTS_PATH: Final = "/claw/v1/system-prompts"
content_file = click.option(
    "--file", "file", type=click.File("rb"), metavar="PATH", help="What it says, in UTF-8; - reads standard input."
)
content_text = click.option("--text", help="What it says.")


@click.group("prompts")
def prompts_group() -> None:
    """Manage system prompts, which models are told before a client's own messages."""


@prompts_group.command("list")
@as_json
def list_prompts(*, as_json: bool) -> None:
    """List the prompts; JSON has what they say."""
    answer = call("GET", PROMPTS_PATH)
    if as_json:
        print_json(answer)
        return
    if not answer["prompts"]:
        click.echo("No system prompts. Add one: nself claw prompts add --name NAME --file PATH")
        return
    rows = [
        (each["id"], each["name"], yes_no(each["is_default"]), len(each["content"]), seconds(each["updated_at"]))
        for each in answer["prompts"]
    ]
    print_table(("ID", "Name", "Default", "Characters", "Changed"), rows)


@prompts_group.command("add")
@click.option("--name", type=visible_name, metavar="TEXT", required=True, help="What it is called.")
@content_file
@content_text
@click.option("--default", "is_default", is_flag=True, help="For every key that has none of its own.")
@as_json
def add_prompt(*, name: str, file: IO[bytes] | None, text: str | None, is_default: bool, as_json: bool) -> None:
    """Add a prompt."""
    content = _content(file, text)
    if content is None:
        raise click.UsageError("Give --file or --text.")
    answer = call("POST", PROMPTS_PATH, body={"name": name, "content": content, "is_default": is_default})
    _print_prompt(answer, as_json=as_json)


@prompts_group.command("edit")
@click.argument("prompt", metavar="ID|NAME")
@click.option("--name", type=visible_name, metavar="TEXT", help="Another name.")
@content_file
@content_text
@as_json
def edit_prompt(*, prompt: str, name: str | None, file: IO[bytes] | None, text: str | None, as_json: bool) -> None:
    """Change a prompt; it has effect at once."""
    content = _content(file, text)
    change = {field: value for field, value in (("name", name), ("content", content)) if value is not None}
    if not change:
        raise click.UsageError("Nothing to change: give --name, --file or --text.")
    _print_prompt(call("PUT", _path_of(prompt), body=change), as_json=as_json)


@prompts_group.command("remove")
@click.argument("prompt", metavar="ID|NAME")
@as_json
def remove_prompt(*, prompt: str, as_json: bool) -> None:
    """Remove a prompt; keys that have it have the default then."""
    answer = call("DELETE", _path_of(prompt))
    if as_json:
        print_json(answer)
        return
    click.echo("The prompt is removed.")


@prompts_group.command("default")
@click.argument("prompt", metavar="ID|NAME|none")
@as_json
def set_default(*, prompt: str, as_json: bool) -> None:
    """Make a prompt the default, which every key has that has none of its own; `none`: there is no default."""
    if prompt.lower() != NONE:
        _print_prompt(call("PUT", _path_of(prompt), body={"is_default": True}), as_json=as_json)
        return
    for each in call("GET", PROMPTS_PATH)["prompts"]:
        if each["is_default"]:
            call("PUT", f"{PROMPTS_PATH}/{each['id']}", body={"is_default": False})
    if as_json:
        print_json({"default": None})
        return
    click.echo("There is no default prompt.")


def prompt_id(prompt: str) -> str:
    """Return the id of a prompt that is named by its id or its name.

    Raises:
        ClickException: there is none.
    """
    prompts: list[dict[str, Any]] = call("GET", PROMPTS_PATH)["prompts"]
    for each in prompts:
        if prompt.strip() in {each["id"], each["name"]}:
            return str(each["id"])
    raise click.ClickException(f"There is no system prompt {prompt!r}; `nself claw prompts list` shows them.")


def _path_of(prompt: str) -> str:
    return f"{PROMPTS_PATH}/{prompt_id(prompt)}"


def _content(file: IO[bytes] | None, text: str | None) -> str | None:
    """Return what a prompt shall say, None where nothing is given.

    Raises:
        UsageError: it is given twice.
        ClickException: it is no text, or too long.
    """
    if file is not None and text is not None:
        raise click.UsageError("--file and --text exclude each other.")
    if file is None:
        return text
    try:
        # A character takes four bytes of UTF-8 at the most; one more tells that there are too many.
        content = file.read(4 * MAX_CONTENT_CHARS + 1).decode()
    except UnicodeDecodeError:
        raise click.ClickException(f"{Path(file.name).name} is no text in UTF-8.") from None
    if len(content) > MAX_CONTENT_CHARS:
        raise click.ClickException(f"A prompt has at most {MAX_CONTENT_CHARS} characters.")
    return content.rstrip("\n")


def _print_prompt(prompt: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(prompt)
        return
    click.echo(f"ID:       {prompt['id']}")
    click.echo(f"Name:     {prompt['name']}")
    click.echo(f"Default:  {yes_no(prompt['is_default'])}")
    click.echo(f"Content:  {len(prompt['content'])} characters")
