"""The knowledge base of one api process: what it has for a question."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from api.prompt.knowledge.corpus import Corpus, corpus
from api.prompt.knowledge.embedder import QUERY_TIMEOUT_S, Embedder, ProcessParts
from api.prompt.knowledge.fusion import fused
from shared.postgres.knowledge.store import Chunk, KnowledgeStore, Scope
from shared.postgres.knowledge.vectors import VectorStore
from shared.process.tasks import end_all
from shared.process.threads import in_thread

if TYPE_CHECKING:
    from shared.postgres.database import Database

How = Literal["text", "hybrid"]
CANDIDATES: Final = 50
"""Number of chunks that each kind of search brings to the fusion."""
TEXT_WEIGHT: Final = 1.0
VECTOR_WEIGHT: Final = 1.0


class Found(msgspec.Struct, frozen=True):
    """Chunks that were found, the best first, and how: by words alone, or by vectors too."""

    chunks: list[Chunk]
    how: How


class HowSearched(msgspec.Struct, frozen=True):
    """The kinds of search in use.

    Args:
        how: by words alone, or by vectors too.
        pgvector: whether PostgreSQL has it; None where nobody has looked yet.
        model: whose vectors are searched.
        vectors: how many chunks have one of it.
        failed: of how many chunks the model makes none, so that only words find them; it is asked again later.
        making: another model, whose vectors are being made; None where none are.
        made: how many chunks have one of that already.
    """

    how: How
    pgvector: bool | None
    model: str | None
    vectors: int
    failed: int
    making: str | None = None
    made: int = 0


class Rankings(msgspec.Struct, frozen=True):
    """The ids of chunks for a question, the best first: by words, and by vectors where there are any."""

    by_text: list[str]
    by_vector: list[str] | None

    def fused(self) -> list[str]:
        """Return both as one."""
        return fused([(TEXT_WEIGHT, self.by_text), (VECTOR_WEIGHT, self.by_vector or [])])


class Knowledge:
    """The knowledge base. Every method raises `DatabaseUnavailable` while PostgreSQL cannot answer.

    What the gateway brings itself is stored when it is first needed: who never asks for knowledge pays nothing.

    Args:
        database: where it is.
        process: what it uses of its process.
    """

    def __init__(self, database: Database, process: ProcessParts) -> None:
        self.store = KnowledgeStore(database)
        self._vectors = VectorStore(database)
        self.embedder = Embedder(self.store, self._vectors, process)
        self._is_stored = False
        self._one_storing = asyncio.Lock()

    async def corpus(self) -> Corpus:
        """Return what the gateway brings itself, stored by now."""
        found = await in_thread(corpus)
        if not self._is_stored:
            async with self._one_storing:
                await self.store.put_built_in(found.chunks, found.digest)
                self._is_stored = True
        self.embedder.use()
        return found

    async def search(self, question: str, scope: Scope, most: int, key_id: str | None = None) -> Found:
        """Return the best chunks for a question.

        Args:
            question: in words; it has some.
            scope: what is searched.
            most: how many chunks at the most.
            key_id: of the key that caused it.
        """
        rankings = await self.rank(question, scope, max(CANDIDATES, most), key_id)
        chunks = await self.store.chunks(rankings.fused()[:most])
        return Found(chunks, "text" if rankings.by_vector is None else "hybrid")

    async def how_searched(self, *, is_built_in: bool = False) -> HowSearched:
        """Return how questions are searched now; `is_built_in` counts what the gateway brings itself alone."""
        serving, has_pgvector = self.embedder.serving, self.embedder.has_pgvector
        model = None if serving is None else serving.model
        failed = await self._vectors.count_set_aside(model, is_built_in=is_built_in)
        counts = await self._vectors.counts(is_built_in=is_built_in) if model or has_pgvector else {}
        count = counts.pop(model, 0) if model else 0
        making = max(counts, key=counts.__getitem__, default=None)
        made = counts[making] if making else 0
        return HowSearched("hybrid" if model else "text", has_pgvector, model, count, failed, making, made)

    async def rank(
        self,
        question: str,
        scope: Scope,
        most: int,
        key_id: str | None = None,
        *,
        timeout_s: float = QUERY_TIMEOUT_S,
    ) -> Rankings:
        """Return the ids of the best chunks by each kind of search.

        The arguments are those of `search`, and how long the vector of the question may take, in seconds.
        """
        await self.corpus()
        # Beside the search by words: a model takes longer than PostgreSQL.
        asking = asyncio.create_task(
            self.embedder.of_question(question, key_id, timeout_s), name="vector of a question"
        )
        try:
            by_text = await self.store.search_text(question, scope, most)
            made = await asking
        finally:
            await end_all(asking)
        if made is None:
            return Rankings(by_text, None)
        serving, vector = made
        return Rankings(by_text, await self._vectors.nearest(serving.model, vector, scope, most))
