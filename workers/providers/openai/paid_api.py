"""A further paid API that speaks as OpenAI does (OpenRouter, Groq, Mistral, DeepSeek, Together, Azure's v1, ...)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shared.models.catalogue import endpoints_of
from shared.types import LocalModel
from workers.providers.openai.provider import OpenAIProvider

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.models.catalogue import Catalogue
    from shared.models.paid_apis import PaidApi


class PaidApiProvider(OpenAIProvider):
    """An API that the environment names. Its models are named `<name>/<model>`.

    Args:
        api: where it is, and what of it is offered.
        connections: how many connections may be open at once.
        catalogue: what is known of its models; one without a price there is not offered.
    """

    def __init__(self, api: PaidApi, *, connections: int, catalogue: Catalogue) -> None:
        super().__init__(api.url, api.api_key, connections, catalogue=catalogue)
        self.name = api.name
        self.prefix = f"{api.name}/"
        self._offered = api.models
        self._prices = catalogue

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
