"""What every provider is: an upstream's API spoken in the gateway's events.

A provider is one file, one line in `workers/providers/__init__.py`'s table and one folder of exchanges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from shared.openai.embeddings import Embedded, EmbeddingsRequest
    from shared.openai.request import ChatRequest
    from shared.types import Event, LocalModel


class Provider(Protocol):
    """The adapter of one upstream API."""

    name: str

    def stream(self, request: ChatRequest, model: str) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Event]]]:
        """Start a completion; leaving the context closes the upstream connection at once.

        The iterator yields the events that arrived together as one batch, never an empty one: `Delta`s, one
        `Finish` per choice after its last `Delta`, at most one `Usage` as the very last. It ends after the
        upstream's own end mark, and raises `StreamBroken` when that never comes. It sets no time limit:
        bound each wait with `asyncio.timeout`.

        Raises:
            CallerError: the request cannot be served by this upstream; `param` says why.
            UpstreamError: the upstream failed.
        """
        ...

    async def embed(self, request: EmbeddingsRequest, model: str) -> Embedded:
        """Make the vectors of an embeddings request, one for each input, in their order.

        Raises:
            CallerError: the request cannot be served by this upstream; `param` says why.
            UpstreamError: the upstream failed.
        """
        ...

    async def models(self) -> Sequence[LocalModel]:
        """The models that the upstream has now.

        Raises:
            UpstreamError: it cannot be asked.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
