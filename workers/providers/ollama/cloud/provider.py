"""Provider 'ollama-cloud': the models of an Ollama that run on somebody else's machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from workers.providers.ollama.provider import OllamaProvider

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.types import LocalModel
    from workers.providers.ollama.context import ContextRoom


class OllamaCloudProvider(OllamaProvider):
    """An Ollama server, as far as it passes requests on. Its models are named `ollama-cloud/<name>`."""

    name = "ollama-cloud"
    serves_remote = True
    prefix = "ollama-cloud/"

    async def models(self) -> Sequence[LocalModel]:
        """Return the models that run elsewhere.

        Raises:
            UpstreamError: it cannot be asked.
        """
        return [
            msgspec.structs.replace(
                model, id=self.prefix + model.id, is_loaded=False, loads_on_request=False, can_extend_context=False
            )
            for model in await super().models()
        ]

    def _room(self, model: str) -> ContextRoom:
        """Return the whole context of the model: no memory of this machine is spent on it."""
        room = super()._room(model)
        usual = room.of_model or room.most
        return msgspec.structs.replace(room, usual=usual, most=max(usual, room.most))
