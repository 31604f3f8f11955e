"""Makes the vectors of the knowledge base, beside everything else, by requests of the gateway's own."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from api.prompt.knowledge.chunk_vectors import ChunkVectors
from api.requests.own_request import OwnRequest, OwnVectors
from shared.errors import GatewayError
from shared.models.catalogue import LOCAL_EMBEDDING
from shared.models.embedding_models import embedding_entry
from shared.postgres.database import DatabaseUnavailable
from shared.process.tasks import end_all, spawn_critical, wait_or
from shared.redis.client import UNREACHABLE
from shared.redis.names import KNOWLEDGE_EMBEDDER

if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from api.routing.live_backends import Capacity
    from shared.postgres.knowledge.store import KnowledgeStore
    from shared.postgres.knowledge.vectors import VectorStore
    from shared.settings import Settings

_log = logging.getLogger(__name__)

NEWS: Final = b"knowledge"
SERVING: Final = "vectors"
LOOK_S: Final = 5.0
BATCH: Final = 16
LEASE_MS: Final = 150_000  # longer than a batch may take (`TIMEOUT_S` of `chunk_vectors`)
GONE_S: Final = 600.0
"""For how long the model of the vectors may be away before another one makes them anew."""
QUERY_TIMEOUT_S: Final = 0.3  # then words alone answer


class Serving(msgspec.Struct, frozen=True):
    """The model whose vectors are searched."""

    model: str
    dimensions: int


class Embed(Protocol):
    """Asks a model for vectors, as `api.requests.own.embed` does."""

    async def __call__(self, request: OwnRequest, model: str, texts: Sequence[str], **fields: Any) -> OwnVectors:
        """Return the vectors of texts."""


@dataclass(frozen=True)
class ProcessParts:
    """Parts of the process that the knowledge base uses.

    Attributes:
        settings: the model that is named, and what is known of models.
        redis: has the lease.
        api_id: this process, in hex digits.
        capacity: knows the local models.
        embed: asks one of them.
    """

    settings: Settings
    redis: Redis
    api_id: str
    capacity: Capacity
    embed: Embed


class Embedder:
    """Keeps vectors of all chunks, by one api process at a time; and makes those of questions.

    Args:
        store: the chunks, and what all processes share.
        vectors: where vectors are.
        process: what it uses of its process.
    """

    def __init__(self, store: KnowledgeStore, vectors: VectorStore, process: ProcessParts) -> None:
        self._store = store
        self._vectors = vectors
        self._chunks = ChunkVectors(vectors, self._embed_passages)
        self._process = process
        self._serving: Serving | None = None
        self._seen_at = time.monotonic()
        self._is_used = self._has_looked = False
        self._wake = asyncio.Event()
        self._failure = ""
        self._task: asyncio.Task[None] | None = None
        self.has_pgvector: bool | None = None

    @property
    def serving(self) -> Serving | None:
        """Return whose vectors are searched, as far as this process knows; None where there are none yet."""
        return self._serving

    def start(self) -> None:
        self._task = spawn_critical(self._run(), name="knowledge embedder")

    async def stop(self) -> None:
        await end_all(self._task)

    def wake(self, _subject: str = "") -> None:
        """Look now: knowledge is used, and something may have changed."""
        self._is_used = True
        self._wake.set()

    def use(self) -> None:
        """Note that somebody asks for knowledge: from now on there are vectors of it."""
        if not self._is_used:
            self.wake()

    async def of_question(
        self, question: str, key_id: str | None, timeout_s: float = QUERY_TIMEOUT_S
    ) -> tuple[Serving, array[float]] | None:
        """Return the vector of a question and whose it is, None where there is none in time.

        Args:
            question: in words.
            key_id: of the key that caused it.
            timeout_s: how long that may take, in seconds.
        """
        serving = self._serving
        if serving is None or serving.model not in self._local_models():
            return None
        own = OwnRequest(purpose="knowledge", timeout_s=timeout_s, key_id=key_id, is_awaited=True)
        with suppress(TimeoutError, GatewayError):
            made = await self._embed(own, serving.model, [question], is_query=True)
            if made.model == serving.model and len(made.vectors[0]) == serving.dimensions:
                return serving, made.vectors[0]
            if made.model == serving.model:
                # Its server has another model under the same name.
                await self._vectors.keep(serving.model, len(made.vectors[0]))
                self.wake()
        return None

    # --- all chunks ---

    async def _run(self) -> None:
        while True:
            # Before the look: who wakes it meanwhile has another one.
            self._wake.clear()
            try:
                await self._look()
                self._failure = ""
            except (DatabaseUnavailable, GatewayError, TimeoutError, *UNREACHABLE) as error:
                self._report(f"{type(error).__name__}: {error}")
            await wait_or(self._wake, LOOK_S)

    def _report(self, failure: str) -> None:
        # Once, not at each look.
        if failure != self._failure:
            _log.warning("the vectors of the knowledge base are not complete: %s", failure)
            self._failure = failure

    async def _look(self) -> None:
        if not self._is_used and not self._has_looked:
            await self._read_serving()
            self._has_looked, self._is_used = True, self._serving is not None
        if not self._is_used:
            return
        await self._read_serving()
        model = self._wanted()
        if model is None or not await self._has_table() or not await self._lead():
            return
        try:
            await self._embed_all(model)
        finally:
            # Another process may go on at once, where this one ends.
            await self._process.redis.delete(KNOWLEDGE_EMBEDDER)

    async def _embed_all(self, model: str) -> None:
        has_new = False
        while chunks := await self._vectors.unembedded(model, BATCH):
            # In this order: `or` would leave a batch out.
            has_new = await self._chunks.make(model, chunks) or has_new
            if not await self._lead():
                return
        if has_new or self._serving is None or self._serving.model != model:
            await self._serve(model)

    async def _serve(self, model: str) -> None:
        """Let the vectors of a model serve, now that all chunks have one; those of others go."""
        dimensions = await self._vectors.dimensions(model)
        if dimensions is None:
            return
        # In this order: the old vectors serve until the new ones can be searched.
        await self._vectors.index(model, dimensions)
        self._serving = Serving(model, dimensions)
        await self._store.set_state(SERVING, msgspec.json.encode(self._serving).decode())
        await self._vectors.remove_others(model)

    async def _read_serving(self) -> None:
        raw = await self._store.state(SERVING)
        self._serving = None if raw is None else msgspec.json.decode(raw, type=Serving)

    def _local_models(self) -> set[str]:
        return {
            name for name, model in self._process.capacity.models("local").items() if "embeddings" in model.endpoints
        }

    def _wanted(self) -> str | None:
        """Return the model that makes the vectors; None where none is there, or the right one may come back."""
        here, now = self._local_models(), time.monotonic()
        named = self._process.settings.knowledge_model
        if named is not None:
            return next((name for name in (named, f"{named}:latest") if name in here), None)
        if self._serving is not None:
            if self._serving.model in here:
                self._seen_at = now
                return self._serving.model
            # Its server may only be starting again, and all others' vectors are of no use to it.
            if now - self._seen_at < GONE_S:
                return None
        return next(
            (name for name in (LOCAL_EMBEDDING, f"{LOCAL_EMBEDDING}:latest", *sorted(here)) if name in here), None
        )

    async def _has_table(self) -> bool:
        was_there, self.has_pgvector = self.has_pgvector, await self._vectors.ensure()
        # Once: at the first look, or when it has gone.
        if not self.has_pgvector and was_there is not False:
            _log.warning("PostgreSQL has no pgvector (CREATE EXTENSION vector): knowledge is searched by words alone")
        return self.has_pgvector

    async def _lead(self) -> bool:
        """Take or renew the lease; return whether this process has it. Two at once would only do the same twice."""
        redis, mine = self._process.redis, self._process.api_id.encode()
        if await redis.set(KNOWLEDGE_EMBEDDER, mine, nx=True, px=LEASE_MS):
            return True
        if await redis.get(KNOWLEDGE_EMBEDDER) != mine:
            return False
        return bool(await redis.pexpire(KNOWLEDGE_EMBEDDER, LEASE_MS))

    async def _embed_passages(self, own: OwnRequest, model: str, texts: Sequence[str]) -> OwnVectors:
        # One batch may be many requests, where the model fails on some of its chunks.
        await self._lead()
        return await self._embed(own, model, texts, is_query=False)

    async def _embed(self, own: OwnRequest, model: str, texts: Sequence[str], *, is_query: bool) -> OwnVectors:
        known = embedding_entry(self._process.settings.catalogue.embeddings, model)
        start = known.query_start if is_query else known.passage_start
        fields = {"input_type": "query" if is_query else "passage"} if known.takes_input_type else {}
        return await self._process.embed(own, model, [start + text for text in texts], **fields)
