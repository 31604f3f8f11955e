"""Which models and tiers a key may use."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

import msgspec

from shared.errors import ModelNotAllowed

if TYPE_CHECKING:
    from shared.types import Tier


class KeyBounds(msgspec.Struct, frozen=True):
    """The models and tiers that a key may use; an empty tuple stands for all.

    A model's pattern (`*`, `?` and `[...]` as in file names, of the same case) allows a name to be asked for, whoever
    serves it then (`auto`, `gpt-4o`), and a model to serve a request for another name.
    """

    models: tuple[str, ...] = ()
    tiers: tuple[Tier, ...] = ()

    def refusal(self, name: str, tier: Tier, model: str) -> ModelNotAllowed | None:
        """Return the error where a model of a tier may not serve a request for `name`; None where it may."""
        if self.tiers and tier not in self.tiers:
            return ModelNotAllowed(
                f"This API key may not use the {tier} tier, only: {', '.join(self.tiers)}.",
                param="model",
                code="tier_not_allowed",
            )
        if not self.models or any(fnmatchcase(one, pattern) for pattern in self.models for one in (name, model)):
            return None
        return ModelNotAllowed(f"This API key may not use the model '{name}'.", param="model")


NO_KEY_BOUNDS: Final = KeyBounds()
