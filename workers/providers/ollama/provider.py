"""Provider 'ollama': Ollama's native API.

Not its OpenAI-compatible one, which ignores `num_ctx` and so cuts long prompts silently.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import msgspec

from shared.errors import GatewayError
from shared.models.abilities import check_supported
from shared.openai.embeddings import Embedded
from shared.process.tasks import work_beside
from workers.providers.http.upstream import StatusError, Upstream
from workers.providers.images.remote import fetch_images
from workers.providers.ollama.context import ContextRoom
from workers.providers.ollama.embeddings import to_embed_body
from workers.providers.ollama.models import (
    ModelFacts,
    RunningModels,
    Show,
    Tags,
    Version,
    cuts_prompts,
    to_facts,
    to_local_model,
)
from workers.providers.ollama.reply import ChatReader, from_status_error, rejects_level
from workers.providers.ollama.request import Prepared, to_body
from workers.providers.replies.vectors import Vector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from shared.openai.embeddings import EmbeddingsRequest
    from shared.openai.request import ChatRequest
    from shared.types import Event, LocalModel
    from workers.providers.images.remote import FetchImage


class _Vectors(msgspec.Struct):
    prompt_eval_count: int | None = None


class OllamaProvider:
    """An Ollama server.

    Args:
        base_url: the server's URL, as in `http://127.0.0.1:11434`.
        num_ctx: the context that models are loaded with, in tokens; a model with a smaller one gets its own.
        connections: how many connections may be open at once.
        max_num_ctx: the longest context that a client may ask for, in tokens.
        fetch_image: the type and bytes of a remote image, or InvalidRequest; without it those are refused.
    """

    name = "ollama"
    parallel: int | None = None
    embeds_as_openai = False
    serves_remote: ClassVar[bool] = False
    """True where its models run elsewhere: prompts to them leave the machine."""
    prefix: ClassVar[str] = ""
    """Stands before the names of its models here, and not at the server."""

    def __init__(
        self,
        base_url: str,
        num_ctx: int,
        connections: int = 64,
        *,
        max_num_ctx: int = 32_768,
        fetch_image: FetchImage | None = None,
    ) -> None:
        self.base_url = base_url
        self._upstream = Upstream(base_url, connections=connections)
        self._num_ctx = num_ctx
        self._max_num_ctx = max_num_ctx
        self._fetch_image = fetch_image
        self._version: str | None = None
        self._facts: dict[str, ModelFacts] = {}  # by digest
        self._facts_by_name: dict[str, ModelFacts] = {}
        self._without_levels: set[str] = set()

    @asynccontextmanager
    async def stream(self, request: ChatRequest, model: str) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        """Start a completion; see `workers.providers.base.Provider.stream`.

        A model that thinks, but not by levels, is asked only to think, from the second request on at once.
        """
        check_supported(request.body, self.name)
        model = model.removeprefix(self.prefix)
        images = await fetch_images(request.body.messages, self._fetch_image)
        translate = partial(to_body, request, model, self._room(model), images)

        async def prepare(*, takes_levels: bool) -> Prepared:
            return await work_beside(request.size_bytes, partial(translate, takes_levels=takes_levels))

        prepared = await prepare(takes_levels=model not in self._without_levels)
        try:
            async with self._attempt(prepared) as batches:
                yield batches
                return
        except StatusError as rejection:
            if not (prepared.has_level and rejects_level(rejection.report)):
                raise from_status_error(rejection.failure, rejection.report) from None
        self._without_levels.add(model)
        try:
            async with self._attempt(await prepare(takes_levels=False)) as batches:
                yield batches
        except StatusError as rejection:
            raise from_status_error(rejection.failure, rejection.report) from None

    @asynccontextmanager
    async def _attempt(self, prepared: Prepared) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        reader = ChatReader(prepared.cut_at, prepared.forced)
        async with self._upstream.request("POST", "/api/chat", prepared.content, reader) as reply:
            yield reply.batches(reader)

    def _room(self, model: str) -> ContextRoom:
        # A name without a tag is that of `latest`.
        facts = self._facts_by_name.get(model) or self._facts_by_name.get(f"{model}:latest") or ModelFacts()
        return ContextRoom(
            usual=self._num_ctx,
            most=self._max_num_ctx,
            of_model=facts.context_length,
            cuts=self._version is not None and cuts_prompts(self._version),
        )

    async def embed(self, request: EmbeddingsRequest, model: str) -> Embedded:
        """Make vectors by /api/embed; see `workers.providers.base.Provider.embed`."""
        content = await work_beside(len(request.raw), partial(to_embed_body, request, model))
        vectors, reply = await self._upstream.ask_in_pieces(
            "/api/embed", content, name="embeddings", kind=Vector, whole=_Vectors
        )
        return Embedded(vectors, reply.prompt_eval_count)

    async def models(self) -> Sequence[LocalModel]:
        """Return the models that are pulled and run here. What each digest can do is asked for until it is known.

        Raises:
            UpstreamError: it cannot be asked.
        """
        tags = await self._upstream.fetch("GET", "/api/tags", None, Tags)
        found = [model for model in tags.models or () if model.is_remote == self.serves_remote]
        await self._ask_version()
        running = await self._running()
        # By digest, not by name: a name may come to stand for another model.
        known = {model.digest: self._facts[model.digest] for model in found if model.digest in self._facts}
        self._facts = known
        for model in found:
            if model.digest not in known:
                with suppress(GatewayError):  # it may be gone since it was listed
                    question = msgspec.json.encode({"model": model.name})
                    known[model.digest] = to_facts(await self._upstream.fetch("POST", "/api/show", question, Show))
        self._facts_by_name = {model.name: known.get(model.digest, ModelFacts()) for model in found}
        return [to_local_model(model, self._facts_by_name[model.name], self._num_ctx, running) for model in found]

    async def close(self) -> None:
        await self._upstream.close()

    async def _ask_version(self) -> None:
        """Ask for the server's version, which may change with an update; prompts are checked where it is an old one."""
        try:
            version = (await self._upstream.fetch("GET", "/api/version", None, Version)).version
        except GatewayError:  # the version that was reported before still counts
            version = self._version or ""
        if version != self._version:
            self._version = version
            # Another version of the server may know more.
            self._without_levels.clear()

    async def _running(self) -> set[str]:
        """Return the models in memory; none where the server does not say."""
        try:
            running = await self._upstream.fetch("GET", "/api/ps", None, RunningModels)
        except GatewayError:
            return set()
        return {model.name for model in running.models or ()}
