"""`nself claw knowledge add`: the operator's documents, of which only what has changed is done again."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.progress import Progress

from api.prompt.knowledge.chunking import chunked
from cli.api_client import call
from cli.knowledge.convert import MOST_FILE_BYTES, Unreadable, to_markdown
from cli.knowledge.files import found_files
from cli.options import as_json
from cli.tables import print_json, printable

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS_PATH: Final = "/claw/knowledge/documents"
OUR_VERSION: Final = b"1"
"""Of the conversion: with another one every file is done again."""
PAGE: Final = 1_000


@click.command("add")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--category", default="operator", show_default=True, metavar="NAME", help="Small letters and hyphens.")
@as_json
def add_documents(*, paths: tuple[str, ...], category: str, as_json: bool) -> None:
    """Add documents: Markdown, text, HTML, PDF, DOCX; of folders all that are in them.

    Files that have not changed since are left out. A document is known by its whole path.
    """
    files = found_files(paths)
    known = {each["name"]: each["hash"] for each in all_documents()}
    done: Counter[str] = Counter()
    failed: dict[str, str] = {}
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
        task = progress.add_task("Reading", total=len(files))
        for path in files:
            progress.update(task, description=printable(path.name)[:40])
            try:
                done[_add(path, category, known)] += 1
            except Unreadable as error:
                failed[str(path)] = str(error)
            progress.advance(task)
    if as_json:
        print_json({**{name: done[name] for name in ("added", "changed", "unchanged")}, "failed": failed})
    else:
        for name, reason in failed.items():
            click.echo(f"Not added: {printable(name)}: {reason}", err=True)
        click.echo(f"Added {done['added']}, changed {done['changed']}, unchanged {done['unchanged']}.")
    if failed:
        raise click.exceptions.Exit(1)


def all_documents() -> list[dict[str, Any]]:
    """Return every document that the gateway has."""
    found: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        answer = call("GET", DOCUMENTS_PATH, query={"limit": PAGE, "after": after})
        found += answer["documents"]
        after = answer["next_after"]
    return found


def _add(path: Path, category: str, known: dict[str, str]) -> str:
    """Add one document; return what that did.

    Raises:
        Unreadable: it cannot become text.
    """
    raw = _read(path)
    name = str(path)
    digest = hashlib.sha256(b"\0".join((OUR_VERSION, category.encode(), raw))).hexdigest()
    if known.get(name) == digest:
        return "unchanged"
    pieces = chunked(to_markdown(raw, path.suffix.lower()), path.stem[:100])
    chunks = [{"title": piece.title, "content": piece.content} for piece in pieces]
    call("POST", DOCUMENTS_PATH, body={"name": name, "hash": digest, "category": category, "chunks": chunks})
    return "changed" if name in known else "added"


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise Unreadable("no plain file")
        with path.open("rb") as file:
            return file.read(MOST_FILE_BYTES + 1)  # one more tells that it is too large
    except OSError as error:
        raise Unreadable(error.strerror or "cannot be read") from None
