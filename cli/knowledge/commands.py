"""`nself claw knowledge`: search, list, version, notes, remove."""

from __future__ import annotations

import shutil
import textwrap
from typing import Any, Final

import click

from cli.api_client import call
from cli.cells import seconds
from cli.knowledge.add import DOCUMENTS_PATH, add_documents, all_documents
from cli.knowledge.evaluate import evaluate
from cli.options import as_json
from cli.tables import print_json, print_table, printable

SEARCH_PATH: Final = "/claw/knowledge/search"
NOTES_PATH: Final = "/claw/knowledge/notes"
SHOWN_LINES: Final = 6
"""Of each chunk that was found."""


@click.group("knowledge")
def knowledge_group() -> None:
    """Search the knowledge base, add documents and notes to it."""


knowledge_group.add_command(add_documents)
knowledge_group.add_command(evaluate)


@knowledge_group.command("search")
@click.argument("question", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1, 100), default=8, show_default=True, help="How many chunks.")
@click.option("--category", metavar="NAME", help="Only of this one.")
@as_json
def search(*, question: tuple[str, ...], top: int, category: str | None, as_json: bool) -> None:
    """Show the chunks that are best for a question."""
    query: dict[str, str | int] = {"q": " ".join(question), "top": top}
    answer = call("GET", SEARCH_PATH, query=query | ({"category": category} if category else {}))
    if as_json:
        print_json(answer)
        return
    if not answer["chunks"]:
        click.echo("Nothing found.")
    for chunk in answer["chunks"]:
        click.secho(f"{printable(chunk['title'])}  ({chunk['id']})", bold=True)
        click.echo(_beginning(chunk["content"]))
        for note in chunk["user_notes"]:
            click.echo(f"Note: {printable(note)}")
        click.echo()


def _beginning(content: str) -> str:
    """Return the first lines of a chunk, as a terminal has room for them; those of code as they are."""
    room, lines, is_code = shutil.get_terminal_size().columns, list[str](), False
    for line in map(printable, content.splitlines()):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif is_code:
            lines.append(f"    {line}")
        else:
            lines += textwrap.wrap(line, room)
    return "\n".join(lines if len(lines) <= SHOWN_LINES else [*lines[:SHOWN_LINES], "..."])


@knowledge_group.command("list")
@click.option("--category", metavar="NAME", help="Only of this one.")
@click.option("--documents", is_flag=True, help="The documents that were added.")
@as_json
def list_chunks(*, category: str | None, documents: bool, as_json: bool) -> None:
    """List the chunks, or the documents that were added."""
    if documents:
        _list_documents(as_json=as_json)
        return
    chunks: list[dict[str, Any]] = []
    after: str | None = ""  # the first page
    while after is not None:
        query: dict[str, str | int] = {"after": after, **({"category": category} if category else {})}
        answer = call("GET", SEARCH_PATH, query=query)
        chunks += answer["chunks"]
        after = answer["next_after"]
    if as_json:
        print_json({"chunks": chunks})
        return
    rows = [(each["id"], each["category"], each["title"]) for each in chunks]
    print_table(("ID", "Category", "Title"), rows, most_wanted=("ID", "Title"))


def _list_documents(*, as_json: bool) -> None:
    found = all_documents()
    if as_json:
        print_json({"documents": found})
        return
    if not found:
        click.echo("No documents. Add some: nself claw knowledge add PATH...")
        return
    rows = [(each["id"], each["name"], each["chunks"], seconds(each["updated_at"])) for each in found]
    print_table(("ID", "Document", "Chunks", "Changed"), rows)


@knowledge_group.command("version")
@as_json
def version(*, as_json: bool) -> None:
    """Show what the base has, and how it is searched."""
    answer = call("GET", "/claw/knowledge/version")
    if as_json:
        print_json(answer)
        return
    searched = answer["search"]
    click.echo(f"Version:     {answer['version']} (schema {answer['schema_version']})")
    click.echo(f"About:       {answer['description']}")
    click.echo(f"Chunks:      {answer['total_chunks']} in {len(answer['categories'])} categories")
    click.echo(f"Searched by: {searched['how']}{_why(searched)}")
    for line in under_way(searched, answer["total_chunks"]):
        click.echo(line)
    if searched["failed"]:
        click.echo(f"No vectors:  of {searched['failed']} chunks: the model fails on them, and is asked again later")


def under_way(searched: dict[str, Any], chunks: int) -> list[str]:
    """Return a line for each model whose vectors are not complete.

    Args:
        searched: how the base is searched, as the gateway says it.
        chunks: how many it has.
    """
    of_models = (searched["model"], searched["vectors"]), (searched.get("making"), searched.get("made", 0))
    return [
        f"Under way:   vectors of {model}: {made} of {chunks} chunks have one"
        for model, made in of_models
        if model and made + searched["failed"] < chunks
    ]


def _why(searched: dict[str, Any]) -> str:
    if searched["model"]:
        return f", vectors of {searched['model']}"
    if searched["pgvector"] is False:
        return ": PostgreSQL has no pgvector"
    return ": the vectors are not complete yet" if searched["making"] else ": there are no vectors yet"


@knowledge_group.command("remove")
@click.argument("document", metavar="ID|NAME")
@as_json
def remove_document(*, document: str, as_json: bool) -> None:
    """Remove a document, with the notes of its chunks."""
    for each in all_documents():
        if document in {each["id"], each["name"]}:
            answer = call("DELETE", f"{DOCUMENTS_PATH}/{each['id']}")
            break
    else:
        raise click.ClickException(f"There is no document {document!r}; `knowledge list --documents` shows them.")
    if as_json:
        print_json(answer)
        return
    click.echo(f"{printable(answer['name'])} is removed.")


@knowledge_group.group("note")
def note_group() -> None:
    """Manage notes, which are searched and told to models with their chunk."""


@note_group.command("add")
@click.argument("chunk", metavar="CHUNK")
@click.argument("text")
@as_json
def add_note(*, chunk: str, text: str, as_json: bool) -> None:
    """Add a note to a chunk."""
    answer = call("POST", NOTES_PATH, body={"chunk_id": chunk, "note": text})
    if as_json:
        print_json(answer)
        return
    click.echo(f"ID:  {answer['id']}")


@note_group.command("list")
@click.argument("chunk", metavar="[CHUNK]", required=False)
@as_json
def list_notes(*, chunk: str | None, as_json: bool) -> None:
    """List the notes of a chunk, or all."""
    answer = call("GET", NOTES_PATH, query={"chunk_id": chunk} if chunk else {})
    if as_json:
        print_json(answer)
        return
    if not answer["notes"]:
        click.echo("No notes.")
        return
    rows = [(each["id"], each["chunk_id"], each["note"], seconds(each["created_at"])) for each in answer["notes"]]
    print_table(("ID", "Chunk", "Note", "Made"), rows)


@note_group.command("delete")
@click.argument("note", metavar="ID")
@as_json
def delete_note(*, note: str, as_json: bool) -> None:
    """Delete a note."""
    if not all(character in "0123456789abcdefABCDEF-" for character in note):
        raise click.BadParameter("That is no id of a note; `knowledge note list` shows them.")
    answer = call("DELETE", f"{NOTES_PATH}/{note}")
    if as_json:
        print_json(answer)
        return
    click.echo("The note is deleted.")
