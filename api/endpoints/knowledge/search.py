"""GET /claw/knowledge/search, categories and version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from api.endpoints.knowledge.arguments import MOST_QUESTION_CHARS, check_arguments, scope_of_caller, text_argument
from api.endpoints.manage.guard import integer_argument
from api.gateway import gateway
from api.http.body import json_response
from api.prompt.knowledge.base import CANDIDATES
from api.prompt.knowledge.context import SEARCH_HEADER
from shared.errors import InvalidRequest

if TYPE_CHECKING:
    from quart import Response

    from shared.postgres.knowledge.store import Chunk, Scope

DEFAULT_TOP: Final = 8
MOST_TOP: Final = 100
PATIENT_S: Final = 10.0
"""Less than our command line waits for an answer."""
PAGE: Final = 1_000
"""More than the gateway brings itself: nSelf's command line takes the first page for everything."""


async def search_knowledge() -> Response:
    """Search the base; without a question list it, page by page: `next_after` is the `after` of the next page."""
    check_arguments(("q", "top", "category", "after"))
    question, category = text_argument("q", MOST_QUESTION_CHARS), text_argument("category")
    scope = scope_of_caller(category)
    knowledge = gateway().knowledge
    if question is not None:
        top = integer_argument("top", DEFAULT_TOP, low=1, high=MOST_TOP)
        found = await knowledge.search(question, scope, top)
        response = json_response({"chunks": _shown(found.chunks, scope)})
        response.headers[SEARCH_HEADER] = found.how
        return response
    await knowledge.corpus()
    most = integer_argument("top", PAGE, low=1, high=PAGE)
    chunks = await knowledge.store.page(scope, most, text_argument("after"))
    next_after = chunks[-1].id if len(chunks) == most else None
    return json_response({"chunks": _shown(chunks, scope), "next_after": next_after})


def _shown(chunks: list[Chunk], scope: Scope) -> list[Chunk]:
    """Return chunks as the caller may read them: notes are the operator's, also those of the gateway's own chunks."""
    return [msgspec.structs.replace(each, user_notes=()) for each in chunks] if scope.is_built_in else chunks


async def show_rankings() -> Response:
    """Show the ids for a question by each kind of search, and by both: to measure how good they are, not how fast."""
    check_arguments(("q", "top"))
    question = text_argument("q", MOST_QUESTION_CHARS)
    if question is None:
        raise InvalidRequest("q must be given.")
    top = integer_argument("top", CANDIDATES, low=1, high=MOST_TOP)
    found = await gateway().knowledge.rank(question, scope_of_caller(), top, timeout_s=PATIENT_S)
    return json_response({"text": found.by_text, "vectors": found.by_vector, "fused": found.fused()})


async def list_categories() -> Response:
    check_arguments(())
    await gateway().knowledge.corpus()
    found = await gateway().knowledge.store.categories(is_built_in=scope_of_caller().is_built_in)
    return json_response({"categories": [{"category": name, "chunks": count} for name, count in found.items()]})


async def show_version() -> Response:
    """Show what the base has, and how it is searched."""
    check_arguments(())
    knowledge = gateway().knowledge
    corpus = await knowledge.corpus()
    is_built_in = scope_of_caller().is_built_in
    categories = await knowledge.store.categories(is_built_in=is_built_in)
    shown: dict[str, Any] = {
        "version": corpus.version.version,
        "schema_version": corpus.version.schema_version,
        "description": corpus.version.description,
        "categories": list(categories),
        "total_chunks": sum(categories.values()),
        "search": await knowledge.how_searched(is_built_in=is_built_in),
    }
    return json_response(shown)
