"""The interface of every provider: an upstream's API spoken in the gateway's events.

A provider is one package here, one row of `shared/models/providers.py` and one folder of recordings in
`tests/upstreams/`. Its package has a module `connect` with a function of the same name, a `Connect`; that of a provider
with accounts has `for_account` instead, a `ForAccount`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from shared.openai.embeddings import Embedded, EmbeddingsRequest
    from shared.openai.request import ChatRequest
    from shared.settings import Credentials, Settings
    from shared.types import Event, LocalModel, Tier
    from workers.providers.images.remote import FetchImage
    from workers.providers.tool_call_state import ToolCallState


class Provider(Protocol):
    """The adapter of one upstream API.

    Attributes:
        name: as in its row of the table.
        parallel: how many requests the upstream says that it serves at once; None where it does not say.
        embeds_as_openai: whether it takes token ids of OpenAI's vocabulary for embeddings, and `dimensions`.
    """

    name: str
    parallel: int | None
    embeds_as_openai: bool

    def stream(self, request: ChatRequest, model: str) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Event]]]:
        """Start a completion; leaving the context closes the upstream connection at once.

        The iterator yields the events that arrived together as one batch: `Delta`s, one `Finish` per choice after its
        last `Delta`, at most one `Usage` as the very last. One before the last `Finish` says what is known so far, for
        an answer that breaks off. An empty batch says that the upstream lives. It ends after
        the upstream's own end mark, and raises `StreamBroken` when that never comes. It sets no time limit:
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
        """Return the models that the upstream has now.

        Raises:
            UpstreamError: it cannot be asked.
        """
        ...

    async def close(self) -> None: ...


class ProviderContext(NamedTuple):
    """The context that providers are built from.

    Attributes:
        tier: of this process.
        settings: what is configured.
        credentials: those of the tier.
        fetch_image: fetches images that clients name by address, from public addresses only.
        tool_calls: keeps what models want back with a tool call's result.
    """

    tier: Tier
    settings: Settings
    credentials: Credentials
    fetch_image: FetchImage
    tool_calls: ToolCallState


class ConfiguredProvider(NamedTuple):
    """A provider that is built: one upstream.

    Attributes:
        provider: speaks to it.
        name: tells it from others of the tier; workers that share it share a queue.
        slots: how many attempts may run at once.
        credential: what it uses, so that a new one is not taken for one that was rejected.
        tier: whose jobs it takes; that of the process if None.
    """

    provider: Provider
    name: str
    slots: int
    credential: str | None = None
    tier: Tier | None = None


class Connect(Protocol):
    """Builds what is configured of a provider in a tier; nothing where nothing is."""

    def __call__(self, context: ProviderContext) -> Sequence[ConfiguredProvider]:
        """Return one connection for each upstream."""
        ...


class ForAccount(Protocol):
    """Builds a provider for one account."""

    def __call__(self, context: ProviderContext, api_key: str) -> Provider:
        """Return a provider that uses `api_key`."""
        ...
