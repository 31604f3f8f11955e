"""The request of a job: the client's body, read once, and off the event loop where it is large."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from shared.dialects.table import dialect_of
from shared.errors import CallerError, InvalidRequest
from shared.openai.embeddings import EmbeddingsRequest, estimate_embedding_tokens
from shared.openai.prompt_size import estimate_prompt_tokens
from shared.openai.request import ChatRequest
from shared.openai.sessions.history import room_of
from shared.process.tasks import work_beside

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.errors import GatewayError
    from shared.models.catalogue import Catalogue
    from shared.openai.client_request import ClientRequest
    from shared.types import Job
    from workers.backends.backend import Backend


def context_of(job: Job, backend: Backend, catalogue: Catalogue) -> int | None:
    """Return how many tokens a job's model takes; None where that is not known."""
    context = next((model.context_length for model in backend.models if model.id == job.model), None)
    if context is None and job.tier != "local":
        context = catalogue.entry(job.model).context_length
    return context


def within_context(job: Job, backend: Backend, catalogue: Catalogue) -> Job:
    """Return a job with as much of its session's history as the model's context holds beside the request itself."""
    if job.history is None:
        return job
    return msgspec.structs.replace(job, history=job.history.within(context_of(job, backend, catalogue)))


class JobRequest:
    """The body of a job, as the one or the other.

    Args:
        job: what to do.
        context: returns how many tokens its model takes, None where that is not known.
    """

    def __init__(self, job: Job, context: Callable[[], int | None] = lambda: None) -> None:
        self.job = job
        self._context = context
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
        await work_beside(self._size, self._read_first)

    async def shorten(self) -> bool:
        """Leave out more of what was too long and may be left out; return False where there is no such thing.

        First of the session's history, then of the request's own oldest items, where its client allows that.
        """
        history, client = self.job.history, self.chat.client
        if history is not None and history.turns:
            self.job = msgspec.structs.replace(self.job, history=history.shorter())
        elif client is None or (client := client.shorter()) is None:
            return False
        self.chat, self._tokens = _chat_of(self.job, client), None
        await work_beside(self._size, self._read)
        return True

    def _fit(self) -> None:
        """Leave out what the model's context does not hold and may be left out."""
        client = self.chat.client if self._is_chat else None
        if client is None or not client.may_be_cut or (context := self._context()) is None:
            return
        room = room_of(context, self.chat.body.output_limit) - self.job.added_tokens
        if (fitted := client.fitted(room)) is not client:
            self.chat = _chat_of(self.job, fitted)

    def tokens(self) -> int:
        """Return about how long the prompt is."""
        if self._tokens is None:
            self._tokens = (
                estimate_prompt_tokens(self.chat.body)
                if self._is_chat
                else estimate_embedding_tokens(self.embeddings.body)
            )
        return self._tokens

    def within(self, tokens: int, calls: int) -> int:
        """Return an estimate of the prompts of some calls that is no more than the model takes."""
        # Of embeddings each input has the context to itself, so the sum may be more.
        context = self._context() if self._is_chat else None
        return tokens if context is None else min(tokens, context * calls)

    def name_params(self, error: GatewayError) -> None:
        """Let an error that blames the caller name the parameters of the client's own dialect."""
        if isinstance(error, CallerError) and self._is_chat:
            with suppress(InvalidRequest):  # what cannot be read names what is wrong in it
                client = self.chat.client
                if client is not None:
                    client.name_params(error)

    def _read_first(self) -> None:
        self._fit()
        self._read()

    def _read(self) -> None:
        request = self.chat if self._is_chat else self.embeddings
        _ = request.body, request.fields
        self.tokens()


def _chat_of(job: Job, client: ClientRequest | None = None) -> ChatRequest:
    """Return a job's request; `client` is what its body says where that was read before."""
    return ChatRequest(
        job.body,
        job.added,
        job.history,
        lambda raw: dialect_of(job.dialect).read(raw) if client is None else client,
    )
