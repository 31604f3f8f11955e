"""Outdated entries of the catalogue: models that are shut down, entries that nobody looked up for long. Pure."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from shared.models.catalogue import ModelEntry
from shared.models.providers import family_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from shared.models.catalogue import Catalogue

NOTHING: Final[dict[str, date | None]] = {}
SOON: Final = timedelta(days=60)
OLD: Final = timedelta(days=90)


class Finding(msgspec.Struct, frozen=True):
    """One thing to do; `is_urgent` where `auto` or an alias rests on it."""

    model: str
    text: str
    is_urgent: bool = False


def findings_of(catalogue: Catalogue, today: date, offered: Mapping[str, date | None] = NOTHING) -> list[Finding]:
    """Return what is to be done, what `auto` and the aliases rest on first.

    Args:
        catalogue: what is known.
        today: the day.
        offered: the models that their makers' APIs list now, and when they end where that is said there, which goes
            before the catalogue.
    """
    # The makers' own word first: the catalogue may be months old.
    models = {
        name: msgspec.structs.replace(entry, shutdown=offered.get(name) or entry.shutdown)
        for name, entry in catalogue.models.items()
    }
    catalogue = msgspec.structs.replace(catalogue, models=models)
    return [*_relied_on(catalogue, today), *_entries(catalogue, today), *_missing(catalogue, offered)]


def _relied_on(catalogue: Catalogue, today: date) -> Iterator[Finding]:
    users = [(name, "auto") for name in (*catalogue.auto.gemini, *catalogue.auto.paid)]
    users += [(name, f"the alias {alias}") for alias, name in catalogue.aliases.items() if family_of(name) is not None]
    for name, user in users:
        entry = catalogue.entry(name)
        family = family_of(name)
        if entry == ModelEntry():
            yield Finding(name, f"{user} uses it, but it is not in the catalogue", is_urgent=True)
        elif entry.prompt_usd is None and (family is None or family.tier == "paid"):
            yield Finding(name, f"{user} uses it, but its price is not known", is_urgent=True)
        elif entry.shutdown is not None and entry.shutdown - today <= SOON:
            yield Finding(name, f"{user} uses it, and its maker shuts it down on {entry.shutdown}", is_urgent=True)


def _entries(catalogue: Catalogue, today: date) -> Iterator[Finding]:
    for name, entry in catalogue.models.items():
        instead = f"; {entry.replacement} replaces it" if entry.replacement else ""
        if entry.shutdown is not None and entry.shutdown <= today:
            yield Finding(name, f"was shut down on {entry.shutdown}{instead}")
        elif entry.shutdown is not None and entry.shutdown - today <= SOON:
            yield Finding(name, f"is shut down on {entry.shutdown}{instead}")
        if entry.checked is None:
            yield Finding(name, "does not say when it was looked up")
        elif today - entry.checked > OLD:
            yield Finding(name, f"was last looked up on {entry.checked}")


def _missing(catalogue: Catalogue, offered: Iterable[str]) -> Iterator[Finding]:
    for name in offered:
        family = family_of(name)
        # Served without a price: by the free quotas.
        if family is not None and family.tier == "gemini":
            if catalogue.entry(name) == ModelEntry():
                yield Finding(name, "is offered by its maker, but not in the catalogue")
        elif not catalogue.has_price(name):
            yield Finding(name, "is offered by its maker, but has no price here, and so is refused")
