"""What a job asks: the client's body, read once, and off the event loop where it is large."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from shared.dialects.table import DIALECTS
from shared.errors import CallerError, InvalidRequest
from shared.openai.embeddings import EmbeddingsRequest, estimate_embedding_tokens
from shared.openai.prompt_size import estimate_prompt_tokens
from shared.openai.request import ChatRequest
from shared.process.tasks import work_beside

if TYPE_CHECKING:
    from shared.errors import GatewayError
    from shared.models.catalogue import Catalogue
    from shared.types import Job
    from workers.backends.backend import Backend


def within_context(job: Job, backend: Backend, catalogue: Catalogue) -> Job:
    """Return a job with as much of its session's history as the model's context holds beside the request itself."""
    if job.history is None:
        return job
    context = next((model.context_length for model in backend.models if model.id == job.model), None)
    if context is None and job.tier != "local":
        context = catalogue.entry(job.model).context_length
    return msgspec.structs.replace(job, history=job.history.within(context))


class AskedRequest:
    """The body of a job, as the one or the other.

    Args:
        job: what to do.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._is_chat = job.endpoint != "embeddings"
        self._size = job.size_bytes
        self._tokens: int | None = None
        self.chat = _chat_of(job)
        self.embeddings = EmbeddingsRequest(job.body)

    async def read(self) -> None:
        """Read it, so that nothing that looks at it later takes long.

        Raises:
            InvalidRequest: it is not what the job says.
        """
        await work_beside(self._size, self._read)

    async def shorten(self) -> bool:
        """Leave out more of the session's history, which was too long; return False where there is none."""
        history = self.job.history
        if history is None or not history.turns:
            return False
        self.job = msgspec.structs.replace(self.job, history=history.shorter())
        self.chat, self._tokens = _chat_of(self.job), None
        await self.read()
        return True

    def tokens(self) -> int:
        """Return about how long the prompt is."""
        if self._tokens is None:
            self._tokens = (
                estimate_prompt_tokens(self.chat.body)
                if self._is_chat
                else estimate_embedding_tokens(self.embeddings.body)
            )
        return self._tokens

    def name_params(self, error: GatewayError) -> None:
        """Let an error that blames the caller name the parameters of the client's own dialect."""
        if isinstance(error, CallerError) and self._is_chat:
            with suppress(InvalidRequest):  # what cannot be read names what is wrong in it
                client = self.chat.client
                if client is not None:
                    client.name_params(error)

    def _read(self) -> None:
        request = self.chat if self._is_chat else self.embeddings
        _ = request.body, request.fields
        self.tokens()


def _chat_of(job: Job) -> ChatRequest:
    return ChatRequest(job.body, job.added, job.history, DIALECTS[job.dialect].read)
