"""Prices as the catalogue has them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Container
    from datetime import date

    from shared.models.catalogue import Catalogue


class Price(msgspec.Struct, frozen=True):
    """The price of a model, in US dollars per million tokens, and what else matters of it."""

    model: str
    prompt_usd: float
    cached_usd: float | None
    completion_usd: float
    context_length: int | None
    max_output_tokens: int | None
    shutdown: date | None
    replacement: str
    checked: date | None
    is_offered: bool


def prices(catalogue: Catalogue, offered: Container[str], wanted: str = "") -> list[Price]:
    """Return the models that have a price and whose name has the wanted part, those on offer first.

    Args:
        catalogue: the prices.
        offered: the models that paid workers offer now.
        wanted: a part of a name.
    """
    found = [
        Price(
            model=name,
            prompt_usd=entry.prompt_usd,
            cached_usd=entry.cached_usd,
            completion_usd=entry.completion_usd,
            context_length=entry.context_length,
            max_output_tokens=entry.max_output_tokens,
            shutdown=entry.shutdown,
            replacement=entry.replacement,
            checked=entry.checked,
            is_offered=name in offered,
        )
        for name, entry in catalogue.models.items()
        if entry.prompt_usd is not None and wanted.casefold() in name.casefold()
    ]
    return sorted(found, key=lambda price: (not price.is_offered, price.model))
