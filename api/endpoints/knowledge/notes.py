"""/claw/knowledge/notes: what the operator has to say of chunks; it is searched, and told to models, with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import msgspec

from api.endpoints.knowledge.arguments import MOST_NAME_CHARS, check_arguments, check_text, text_argument
from api.endpoints.knowledge.news import announce
from api.endpoints.manage.guard import body_as
from api.gateway import gateway
from api.http.body import json_response
from shared.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from quart import Response

MOST_NOTE_CHARS: Final = 4_000
MOST_NOTES: Final = 1_000


class NewNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of a note to be stored."""

    chunk_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_NAME_CHARS)]
    note: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_NOTE_CHARS)]


async def list_notes() -> Response:
    """List the notes of a chunk, or of all."""
    check_arguments(("chunk_id",))
    return json_response({"notes": await gateway().knowledge.store.notes(text_argument("chunk_id"), MOST_NOTES)})


async def add_note() -> Response:
    return json_response({"id": await store_note(await body_as(NewNote))}, 201)


async def store_note(wanted: NewNote) -> str:
    """Add a note to a chunk; return its id.

    Raises:
        InvalidRequest: it is nothing that can be stored.
        NotFound: there is no such chunk.
    """
    check_text("chunk_id", wanted.chunk_id, MOST_NAME_CHARS)
    check_text("note", wanted.note, MOST_NOTE_CHARS)
    if not wanted.note.strip():
        raise InvalidRequest("note must have visible characters - at `$.note`")
    # What the gateway brings itself is stored when it is first needed, and notes may be about it.
    await gateway().knowledge.corpus()
    made = await gateway().knowledge.store.add_note(wanted.chunk_id, wanted.note.strip())
    if made is None:
        raise NotFound("There is no chunk with this id.")
    await announce()
    return made


async def remove_note(note_id: str) -> Response:
    await delete_note(note_id)
    return json_response({"deleted": True})


async def delete_note(note_id: str) -> None:
    """Remove a note.

    Raises:
        NotFound: there is none with this id.
    """
    try:
        is_removed = await gateway().knowledge.store.remove_note(UUID(note_id))
    except ValueError:
        is_removed = False
    if not is_removed:
        raise NotFound("There is no note with this id.")
    await announce()
