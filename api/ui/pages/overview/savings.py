"""Savings of free tiers: the cost of their requests elsewhere.

Reckoned like this: what the local tier or a Gemini account served is priced as if a paid API had served it,
token for token, cached ones as cached. The model is the one that served where the catalogue has a price for it, else
the one that `auto` would take among the paid; for embeddings it is the model that they fall back to. Failed requests
saved nothing, and a model that answers in more or fewer words is not accounted for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.models.catalogue import FALLBACK_EMBEDDING
from shared.types import Usage

if TYPE_CHECKING:
    from shared.models.catalogue import Catalogue, ModelEntry
    from shared.settings import Settings

_EMBEDDINGS = "embeddings"


class Savings:
    """Prices what was free.

    Args:
        settings: the catalogue, and the paid model that `auto` is set to take.
    """

    def __init__(self, settings: Settings) -> None:
        self._catalogue = settings.catalogue
        self.equivalent = _equivalent(settings.catalogue, settings.auto_paid_model)

    @property
    def equivalent_price(self) -> ModelEntry | None:
        """Return the entry of the paid model that answers are priced as; None where no paid model has a price."""
        return None if self.equivalent is None else self._catalogue.entry(self.equivalent)

    def usd(self, endpoint: str, model: str, usage: Usage) -> float:
        """Return what requests would have cost, in US dollars; 0 where nothing is known to compare with."""
        found = self._priced_as(endpoint, model)
        return 0.0 if found is None else self._catalogue.cost_usd(found, usage)

    def _priced_as(self, endpoint: str, model: str) -> str | None:
        if self._catalogue.has_price(model):
            return model
        return FALLBACK_EMBEDDING if endpoint == _EMBEDDINGS else self.equivalent


def _equivalent(catalogue: Catalogue, named: str | None) -> str | None:
    """Return the paid model that `auto` would take: the one that is set, else the first of the catalogue's list."""
    names = [catalogue.resolve(name) for name in (named, *catalogue.auto.paid) if name]
    return next((name for name in names if catalogue.has_price(name)), None)


def usage_of(requests: int, prompt_tokens: int, completion_tokens: int, cached_tokens: int) -> Usage:
    """Return the counts of some requests together."""
    return Usage(prompt_tokens, completion_tokens, cached_tokens=cached_tokens, requests=max(1, requests))
