"""The knowledge base of one api process: what it has for a question."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from api.prompt.knowledge.corpus import Corpus, corpus
from shared.postgres.knowledge.store import Chunk, KnowledgeStore, Scope

if TYPE_CHECKING:
    from shared.postgres.database import Database

How = Literal["text", "hybrid"]
CANDIDATES: Final = 50
"""How many chunks each kind of search brings to the fusion."""


class Found(msgspec.Struct, frozen=True):
    """What was found, the best first, and how: by words alone, or by vectors too."""

    chunks: list[Chunk]
    how: How


class Knowledge:
    """The knowledge base. Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer.

    What the gateway brings itself is stored when it is first needed: who never asks for knowledge pays nothing.

    Args:
        database: where it is.
    """

    def __init__(self, database: Database) -> None:
        self.store = KnowledgeStore(database)
        self._is_stored = False
        self._one_storing = asyncio.Lock()

    async def corpus(self) -> Corpus:
        """Return what the gateway brings itself, stored by now."""
        found = await asyncio.to_thread(corpus)
        if not self._is_stored:
            async with self._one_storing:
                await self.store.put_built_in(found.chunks, found.digest)
                self._is_stored = True
        return found

    async def search(self, question: str, scope: Scope, most: int) -> Found:
        """Return the best chunks for a question.

        Args:
            question: in words; it has some.
            scope: what is searched.
            most: how many chunks at the most.
        """
        await self.corpus()
        by_text = await self.store.search_text(question, scope, max(CANDIDATES, most))
        return Found(await self.store.chunks(by_text[:most]), "text")
