"""Bounds of a key on models and tiers, and the tier that a request asks for."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

import msgspec

from api.http.headers import TIER_HEADER
from shared.errors import CallerError, InvalidRequest, ModelNotAllowed
from shared.types import Tier

_TIERS: Final[dict[str, Tier]] = {
    "local": "local", "gemini": "gemini", "paid": "paid", "free_gemini": "gemini", "api_key": "paid",
}  # fmt: skip
"""The words for a tier that a request may use: ours, and those of nSelf's clients."""


class KeyBounds(msgspec.Struct, frozen=True):
    """The models and tiers that a key may use; an empty tuple stands for all. A request may want no tier but one.

    A model's pattern (`*`, `?` and `[...]` as in file names, of the same case) allows a name to be asked for, whoever
    serves it then (`auto`, `gpt-4o`), and a model to serve a request for another name.
    """

    models: tuple[str, ...] = ()
    tiers: tuple[Tier, ...] = ()
    requested_tier: Tier | None = None

    def within(self, tier: str | None) -> KeyBounds:
        """Return the bounds of a request that asks for one tier; these where it asks for none.

        Raises:
            InvalidRequest: there is no such tier.
        """
        if tier is None:
            return self
        if tier.strip().lower() not in _TIERS:
            raise InvalidRequest(
                f"{TIER_HEADER} must be one of {', '.join(_TIERS)}.", param=TIER_HEADER, code="invalid_value"
            )
        return msgspec.structs.replace(self, requested_tier=_TIERS[tier.strip().lower()])

    def allowed_of(self, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        """Return those of the tiers of `auto` that a request asks for.

        Raises:
            InvalidRequest: it is none of them.
        """
        if self.requested_tier is None:
            return tiers
        if self.requested_tier not in tiers:
            raise InvalidRequest(
                f"Here `auto` may not use the {self.requested_tier} tier, which {TIER_HEADER} asks for.",
                param=TIER_HEADER,
                code="tier_not_available",
            )
        return (self.requested_tier,)

    @property
    def nobody(self) -> str:
        """Return what is said where none of the tiers of `auto` has a model now."""
        if self.requested_tier is None:
            return "No model can be reached now: neither a local one nor one of the other tiers."
        return f"No model of the {self.requested_tier} tier can be reached now, and {TIER_HEADER} asks for it."

    def refusal(self, name: str, tier: Tier, model: str) -> CallerError | None:
        """Return the error where a model of a tier may not serve a request for `name`; None where it may."""
        if self.tiers and tier not in self.tiers:
            return ModelNotAllowed(
                f"This API key may not use the {tier} tier, only: {', '.join(self.tiers)}.",
                param="model",
                code="tier_not_allowed",
            )
        if self.requested_tier not in {None, tier}:
            return InvalidRequest(
                f"The model '{name}' is of the {tier} tier, and {TIER_HEADER} asks for the {self.requested_tier} tier.",
                param=TIER_HEADER,
                code="tier_not_available",
            )
        if not self.models or any(fnmatchcase(one, pattern) for pattern in self.models for one in (name, model)):
            return None
        return ModelNotAllowed(f"This API key may not use the model '{name}'.", param="model")


NO_KEY_BOUNDS: Final = KeyBounds()
