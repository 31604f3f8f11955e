"""A further paid API that speaks as OpenAI does (OpenRouter, Groq, Mistral, DeepSeek, Together, Azure's v1, ...)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from shared.models.abilities import cannot_do
from shared.models.catalogue import endpoints_of
from shared.types import LocalModel
from workers.providers.openai.provider import OpenAIProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from shared.models.catalogue import Catalogue
    from shared.models.paid_apis import PaidApi
    from shared.openai.request import ChatRequest
    from shared.types import Event
    from workers.providers.tool_call_state import ToolCallState


OTHERWISE_BILLED: Final = ("models", "fallbacks", "plugins")
"""Routers' own fields (OpenRouter, LiteLLM): other models that may answer instead, and searches and parsers."""


class PaidApiProvider(OpenAIProvider):
    """An API that the environment names. Its models are named `<name>/<model>`.

    Args:
        api: where it is, and what of it is offered.
        connections: how many connections may be open at once.
        catalogue: what is known of its models; one without a price there is not offered.
        tool_calls: see `OpenAIProvider`.
    """

    def __init__(
        self, api: PaidApi, *, connections: int, catalogue: Catalogue, tool_calls: ToolCallState | None = None
    ) -> None:
        super().__init__(api.url, api.api_key, connections, catalogue=catalogue, tool_calls=tool_calls)
        self.name = api.name
        self.prefix = f"{api.name}/"
        self._offered = api.models
        self._prices = catalogue

    @asynccontextmanager
    async def stream(self, request: ChatRequest, model: str) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        """Start a completion; see `workers.providers.base.Provider.stream`.

        Raises:
            Unsupported: it asks for what is billed at other prices than the model's, which no budget would know of.
        """
        for name in OTHERWISE_BILLED:
            if request.fields.get(name):
                raise cannot_do(name)
        async with super().stream(request, model) as events:
            yield events

    async def models(self) -> Sequence[LocalModel]:
        """Return the models that the operator names, else those that it lists, as far as they have a price.

        Raises:
            UpstreamError: it cannot be asked.
        """
        found: Sequence[LocalModel]
        if self._offered:  # also where it has no list, or one of something else: Azure's are not what is deployed
            found = [LocalModel(name, endpoints=endpoints_of(name)) for name in self._offered]
        else:
            found = await super().models()
        named = [msgspec.structs.replace(model, id=self.prefix + model.id) for model in found]
        return [model for model in named if self._prices.has_price(model.id)]
