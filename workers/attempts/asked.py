"""What a job asks: the client's body, read once, and off the event loop where it is large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.openai.embeddings import EmbeddingsRequest, estimate_embedding_tokens
from shared.openai.prompt_size import estimate_prompt_tokens
from shared.openai.request import ChatRequest
from shared.process.tasks import work_beside

if TYPE_CHECKING:
    from shared.types import Job


class AskedRequest:
    """The body of a job, as the one or the other.

    Args:
        job: what to do.
    """

    def __init__(self, job: Job) -> None:
        self._is_chat = job.endpoint != "embeddings"
        self._size = len(job.body)
        self._tokens: int | None = None
        self.chat = ChatRequest(job.body, job.added)
        self.embeddings = EmbeddingsRequest(job.body)

    async def read(self) -> None:
        """Read it, so that nothing that looks at it later takes long.

        Raises:
            InvalidRequest: it is not what the job says.
        """
        await work_beside(self._size, self._read)

    def tokens(self) -> int:
        """Return about how long the prompt is."""
        if self._tokens is None:
            self._tokens = (
                estimate_prompt_tokens(self.chat.body)
                if self._is_chat
                else estimate_embedding_tokens(self.embeddings.body)
            )
        return self._tokens

    def _read(self) -> None:
        request = self.chat if self._is_chat else self.embeddings
        _ = request.body, request.fields
        self.tokens()
