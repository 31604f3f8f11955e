"""Pages of the knowledge base."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from quart import Response, g, request

from api.endpoints.knowledge.arguments import MOST_QUESTION_CHARS, text_argument
from api.endpoints.knowledge.documents import OPERATOR, delete_document, store_document
from api.endpoints.knowledge.notes import MOST_NOTE_CHARS, MOST_NOTES, NewNote, delete_note, store_note
from api.gateway import gateway
from api.prompt.knowledge.base import CANDIDATES
from api.ui import flash
from api.ui.forms import form
from api.ui.links import url
from api.ui.navigation import KNOWLEDGE
from api.ui.pages.knowledge import files
from api.ui.pages.knowledge.figures import held_out_figures
from api.ui.render import render, see_other
from shared.errors import InvalidRequest, NotFound
from shared.postgres.knowledge.store import Scope

if TYPE_CHECKING:
    from api.prompt.knowledge.base import HowSearched, Rankings
    from shared.postgres.knowledge.store import Chunk

MOST_FOUND: Final = 20
PAGE_ROWS: Final = 50


class Hit(NamedTuple):
    """A chunk that was found, and its place in each ranking; None where that has not found it."""

    chunk: Chunk
    by_words: int | None
    by_meaning: int | None


async def show_knowledge() -> Response:
    """Show what is found for a question; without one what the base has, and how it is searched."""
    question, category = text_argument("q", MOST_QUESTION_CHARS), text_argument("category")
    knowledge = gateway().knowledge
    corpus = await knowledge.corpus()
    categories, searched = await asyncio.gather(knowledge.store.categories(is_built_in=False), knowledge.how_searched())
    rankings = None if question is None else await knowledge.rank(question, Scope(category), CANDIDATES)
    return await render(
        "knowledge/search.html",
        KNOWLEDGE,
        question=question or "",
        category=category or "",
        categories=categories,
        choices=category_choices(categories, category),
        searched=searched,
        why=why(searched),
        hits=[] if rankings is None else await _hits(rankings),
        has_vectors=rankings is not None and rankings.by_vector is not None,
        figures=held_out_figures(),
        corpus=corpus.version,
    )


async def show_chunks() -> Response:
    """Show the chunks of a category, or of all, page by page."""
    category, after = text_argument("category"), text_argument("after")
    knowledge = gateway().knowledge
    await knowledge.corpus()
    chunks = await knowledge.store.page(Scope(category), PAGE_ROWS + 1, after)
    categories = await knowledge.store.categories(is_built_in=False)
    return await render(
        "knowledge/chunks.html",
        KNOWLEDGE,
        chunks=chunks[:PAGE_ROWS],
        category=category or "",
        choices=category_choices(categories, category),
        next_after=chunks[PAGE_ROWS - 1].id if len(chunks) > PAGE_ROWS else None,
        is_first=after is None,
    )


async def show_chunk(chunk_id: str) -> Response:
    """Show one chunk, with its notes."""
    return await _chunk_page(chunk_id)


async def show_notes() -> Response:
    notes = await gateway().knowledge.store.notes(None, MOST_NOTES)
    return await render("knowledge/notes.html", KNOWLEDGE, notes=notes[::-1], is_cut=len(notes) == MOST_NOTES)


async def add_note() -> Response:
    chunk_id, text = form().get("chunk_id", ""), form().get("note", "")
    g.change = {"chunk_id": chunk_id, "note": text}
    try:
        # A form ends lines by CR LF (HTML standard), whatever was typed.
        g.made = await store_note(NewNote(chunk_id=chunk_id, note=text.replace("\r\n", "\n")))
    except InvalidRequest as error:
        return await _chunk_page(chunk_id, text, str(error))
    flash.add("The note was added. It is searched, and told to models, with this chunk from now on.")
    return see_other(url("knowledge", "chunks", chunk_id))


async def remove_note(note_id: str) -> Response:
    await delete_note(note_id)
    flash.add("The note was removed.")
    chunk_id = form().get("chunk_id", "")
    return see_other(url("knowledge", "chunks", chunk_id) if chunk_id else url("knowledge", "notes"))


async def show_documents() -> Response:
    """Show the operator's documents, page by page, and the form that adds some."""
    return await _documents_page()


async def put_document() -> Response:
    """Add files as documents, each in the place of the one that has its name."""
    category = form().get("category", "").strip() or OPERATOR
    try:
        wanted = await files.documents_of((await request.files).getlist("files"), category)
        g.change = {"category": category, "name": [each.name for each in wanted]}
        for each in wanted:
            await store_document(each)
    except InvalidRequest as error:
        return await _documents_page(category, str(error), error.param or "")
    count = sum(len(each.chunks) for each in wanted)
    what = f"{wanted[0].name} was" if len(wanted) == 1 else f"{len(wanted)} files were"
    flash.add(f"{what} added: {count} {'chunk' if count == 1 else 'chunks'}.")
    return see_other(url("knowledge", "documents"))


async def remove_document(document_id: str) -> Response:
    """Remove a document, with the notes of its chunks."""
    name = await delete_document(document_id)
    flash.add(f"{name} was removed, with its chunks and their notes.")
    return see_other(url("knowledge", "documents"))


def why(searched: HowSearched) -> str:
    """Return how questions are searched, and why not by vectors where they are not."""
    if searched.model:
        text = f"By words, and by meaning with the {searched.vectors:,} vectors of {searched.model}."
        if searched.failed:
            text += f" It fails on {searched.failed:,} more: words alone find these, and it is asked again later."
        return text
    if searched.pgvector is False:
        return "By words alone: PostgreSQL has no pgvector."
    if searched.making:
        return f"By words alone until all vectors are made: of {searched.made:,} chunks so far, by {searched.making}."
    return (
        "By words alone: there are no vectors yet. They are made in the background once a model for embeddings is "
        "served by the local tier: nself claw models install nomic-embed-text"
    )


def category_choices(categories: dict[str, int], chosen: str | None) -> list[tuple[str, str]]:
    """Return what a filter by category offers: all that have chunks, and the one that is chosen."""
    found = [("", "All"), *((name, f"{name} ({count:,})") for name, count in categories.items())]
    return found if not chosen or chosen in categories else [*found, (chosen, chosen)]


def places(rankings: Rankings, most: int) -> list[tuple[str, int | None, int | None]]:
    """Return the ids of the best chunks by both rankings, each with its place, from 1 on, in either."""
    by_words = {each: place for place, each in enumerate(rankings.by_text, 1)}
    by_meaning = {each: place for place, each in enumerate(rankings.by_vector or [], 1)}
    return [(each, by_words.get(each), by_meaning.get(each)) for each in rankings.fused()[:most]]


async def _hits(rankings: Rankings) -> list[Hit]:
    found = places(rankings, MOST_FOUND)
    chunks = {chunk.id: chunk for chunk in await gateway().knowledge.store.chunks([each for each, _, _ in found])}
    # One may have been removed since it was ranked.
    return [Hit(chunks[each], words, meaning) for each, words, meaning in found if each in chunks]


async def _chunk_page(chunk_id: str, typed: str = "", wrong: str = "") -> Response:
    knowledge = gateway().knowledge
    await knowledge.corpus()
    # PostgreSQL's texts have no NUL.
    chunks = [] if "\x00" in chunk_id else await knowledge.store.chunks([chunk_id])
    if not chunks:
        raise NotFound("There is no chunk with this id.")
    return await render(
        "knowledge/chunk.html",
        KNOWLEDGE,
        status=400 if wrong else 200,
        chunk=chunks[0],
        notes=await knowledge.store.notes(chunk_id, MOST_NOTES),
        typed=typed,
        wrong=wrong,
        most_chars=MOST_NOTE_CHARS,
    )


async def _documents_page(category: str = OPERATOR, wrong: str = "", param: str = "") -> Response:
    after = text_argument("after")
    found = await gateway().knowledge.store.documents(PAGE_ROWS + 1, after)
    return await render(
        "knowledge/documents.html",
        KNOWLEDGE,
        status=400 if wrong else 200,
        documents=found[:PAGE_ROWS],
        next_after=found[PAGE_ROWS - 1].name if len(found) > PAGE_ROWS else None,
        is_first=after is None,
        category=category,
        wrong=wrong,
        param=param,
        kinds=files.KINDS,
        most_files=files.MOST_FILES,
        most_kib=files.MOST_FILE_BYTES // 1024,
    )
