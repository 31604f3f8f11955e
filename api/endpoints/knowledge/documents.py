"""/claw/knowledge/documents: the operator's own, as chunks that the command line has made of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import msgspec

from api.endpoints.knowledge.arguments import MOST_NAME_CHARS, check_arguments, check_text, text_argument
from api.endpoints.knowledge.news import announce
from api.endpoints.manage.guard import body_as, integer_argument
from api.gateway import gateway
from api.http.body import json_response
from api.prompt.knowledge.chunking import LONGEST_CHARS, MOST_TITLE_CHARS, Piece, piece_ids, slug
from shared.errors import InvalidRequest, NotFound
from shared.postgres.knowledge.store import Chunk
from shared.process.threads import in_thread

if TYPE_CHECKING:
    from quart import Response

PAGE: Final = 1_000
MOST_CHUNKS: Final = 10_000
OPERATOR: Final = "operator"


class NewChunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A piece of a document."""

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_TITLE_CHARS)]
    content: Annotated[str, msgspec.Meta(min_length=1, max_length=2 * LONGEST_CHARS)]


class NewDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of a document to be stored; `hash` is of its file, so that it is known whether that has changed."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_NAME_CHARS)]
    hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    category: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)] = OPERATOR
    chunks: Annotated[tuple[NewChunk, ...], msgspec.Meta(min_length=1, max_length=MOST_CHUNKS)]

    @property
    def id_start(self) -> str:
        """Return what the ids of its chunks begin with: readable, and of this document alone."""
        return f"doc-{slug(self.name.rpartition('/')[2], 40)}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


async def list_documents() -> Response:
    """List documents by name, page by page: `next_after` is the `after` of the next page."""
    check_arguments(("after", "limit"))
    most = integer_argument("limit", PAGE, low=1, high=PAGE)
    found = await gateway().knowledge.store.documents(most, text_argument("after"))
    return json_response({"documents": found, "next_after": found[-1].name if len(found) == most else None})


async def put_document() -> Response:
    """Add a document, or put it in the place of the one that has its name."""
    wanted = await body_as(NewDocument)
    made = await store_document(wanted)
    return json_response({"id": made, "name": wanted.name, "chunks": len(wanted.chunks)}, 201)


async def store_document(wanted: NewDocument) -> str:
    """Add a document, or put it in the place of the one that has its name; return its id.

    Raises:
        InvalidRequest: it holds what cannot be stored; the text says which field.
    """
    # Thousands of chunks would hold the event loop.
    chunks = await in_thread(_chunks_of, wanted)
    made = await gateway().knowledge.store.put_document(wanted.name, wanted.hash, chunks)
    await announce()
    return made


def _chunks_of(wanted: NewDocument) -> list[Chunk]:
    check_text("name", wanted.name, MOST_NAME_CHARS)
    for chunk in wanted.chunks:
        check_text("title", chunk.title, MOST_TITLE_CHARS)
        check_text("content", chunk.content, 2 * LONGEST_CHARS)
        if not chunk.content.strip():
            raise InvalidRequest("content must have visible characters - at `$.chunks[].content`")
    pieces = [Piece(chunk.title, chunk.content) for chunk in wanted.chunks]
    return [
        Chunk(id=chunk_id, category=wanted.category, title=piece.title, content=piece.content, source=wanted.name)
        for chunk_id, piece in zip(piece_ids(wanted.id_start, pieces), pieces, strict=True)
    ]


async def remove_document(document_id: str) -> Response:
    """Remove a document, with the notes of its chunks."""
    return json_response({"id": document_id, "name": await delete_document(document_id), "removed": True})


async def delete_document(document_id: str) -> str:
    """Remove a document, with the notes of its chunks; return its name.

    Raises:
        NotFound: there is none with this id.
    """
    try:
        name = await gateway().knowledge.store.remove_document(UUID(document_id))
    except ValueError:
        name = None
    if name is None:
        raise NotFound("There is no document with this id.")
    return name
