"""Text from the knowledge base for one request, and the response's headers about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.prompt.knowledge.fence import chosen_of, fenced
from api.prompt.knowledge.question import question_of
from shared.openai.prompt_size import estimate_text_tokens
from shared.openai.request import decode_chat
from shared.postgres.knowledge.store import Scope
from shared.process.tasks import work_beside
from shared.types import AddedText

if TYPE_CHECKING:
    from api.prompt.knowledge.base import Knowledge

CHUNKS_HEADER: Final = "x-nself-knowledge-chunks"
SEARCH_HEADER: Final = "x-nself-knowledge-search"
MOST_CHUNKS: Final = 8
LEAST_TOKENS: Final = 50
"""Less says nothing of a chunk."""
MOST_HEADER_CHARS: Final = 1_500
"""Proxies bound a response's headers, nginx to 4 KiB by default."""


async def knowledge_for(
    knowledge: Knowledge, body: bytes, key_id: str | None, most_tokens: int
) -> tuple[AddedText | None, dict[str, str]]:
    """Return what is put before the messages of a chat, None where nothing was found, and the response's headers.

    Args:
        knowledge: the base.
        body: of the chat, checked.
        key_id: of the key that asks.
        most_tokens: how long its chunks may be together, about; no chunk is searched for too little.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    question = ""
    if most_tokens >= LEAST_TOKENS:
        question = await work_beside(len(body), lambda: question_of(decode_chat(body).messages))
    if not question:
        return None, {CHUNKS_HEADER: "", SEARCH_HEADER: "text"}
    found = await knowledge.search(question, Scope(), MOST_CHUNKS, key_id)
    chosen = chosen_of(found.chunks, most_tokens)
    headers = {CHUNKS_HEADER: _listed([chunk.id for chunk, _ in chosen]), SEARCH_HEADER: found.how}
    if not chosen:
        return None, headers
    text = fenced([text for _, text in chosen])
    return AddedText("knowledge", text, estimate_text_tokens(text)), headers


def _listed(ids: list[str]) -> str:
    """Return ids for a header, as many as have room; they are slugs, so that nothing else can be in it."""
    listed = ""
    for each in ids:
        longer = f"{listed},{each}" if listed else each
        if len(longer) > MOST_HEADER_CHARS:
            break
        listed = longer
    return listed
