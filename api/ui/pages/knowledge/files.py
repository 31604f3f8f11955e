"""Files from the browser -> documents. Only what is text: the command line converts others."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import msgspec

from api.endpoints.knowledge.documents import NewChunk, NewDocument
from api.prompt.knowledge.chunking import chunked
from shared.errors import InvalidRequest
from shared.process.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quart.datastructures import FileStorage

KINDS: Final = (".md", ".markdown", ".txt", ".text")
MOST_FILES: Final = 20
MOST_FILE_BYTES: Final = 1024 * 1024
"""An api process makes chunks of it beside its other work; the command line takes larger ones."""


async def documents_of(files: Iterable[FileStorage], category: str) -> list[NewDocument]:
    """Return what the files of a form are as documents.

    Raises:
        InvalidRequest: there is none, or one is not text, empty or too large; the text names it.
    """
    given = [(file.filename or "", file.read(MOST_FILE_BYTES + 1)) for file in files if file.filename]
    if not given:
        raise InvalidRequest("Choose a file first.", param="files")
    if len(given) > MOST_FILES:
        raise InvalidRequest(f"At most {MOST_FILES} files at a time: nself claw knowledge add takes folders.")
    return [await in_thread(document_of, name, raw, category) for name, raw in given]


def document_of(name: str, raw: bytes, category: str) -> NewDocument:
    """Return what a file is as a document.

    Raises:
        InvalidRequest: as above, or the category is none.
    """
    path = PurePosixPath(name)
    if path.suffix.lower() not in KINDS:
        raise InvalidRequest(f"{name} is not Markdown or text. Others: nself claw knowledge add FILE", param="files")
    if len(raw) > MOST_FILE_BYTES:
        most = MOST_FILE_BYTES // 1024
        raise InvalidRequest(f"{name} is larger than {most} KiB. Try: nself claw knowledge add FILE", param="files")
    try:
        # Some editors begin a file with a mark (U+FEFF): the first heading would be none.
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name} is not in UTF-8.", param="files") from None
    chunks = tuple(NewChunk(title=piece.title, content=piece.content) for piece in chunked(text, path.stem[:100]))
    if not chunks:
        raise InvalidRequest(f"{name} has no text in it.", param="files")
    digest = hashlib.sha256(b"\0".join((b"ui", category.encode(), raw))).hexdigest()
    given = {"name": name, "hash": digest, "category": category, "chunks": msgspec.to_builtins(chunks)}
    try:
        return msgspec.convert(given, NewDocument)
    except msgspec.ValidationError as error:
        if error.args[0].endswith("`$.category`"):
            raise InvalidRequest(
                "A category is small letters, digits and single hyphens, as: our-servers", param="category"
            ) from None
        raise InvalidRequest(f"{name[:200]}: {error}", param="files") from None
