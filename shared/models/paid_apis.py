"""Further paid APIs that speak as OpenAI does: each is three variables of the environment, `CLAW_PAID_<NAME>_...`.

Its models are named `<name>/<model>`, in small letters. Prices are the catalogue's, by that name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from shared.models.providers import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Any name at all, also one that is not allowed: what looks like a key must not be printed, nor passed over.
_ANY: Final = re.compile(r"CLAW_PAID_(.+)_(URL|API_KEY|MODELS)")
_NAME: Final = re.compile(r"[A-Z0-9]+")
_TAKEN: Final = frozenset({"auto", "local", "google", "models", *PROVIDERS})
"""Names that are taken: prefixes of other models, or models themselves."""


class PaidApi(msgspec.Struct, frozen=True):
    """A paid API. `models` are its own names of those that are offered; empty for all that it lists."""

    name: str
    url: str
    api_key: str
    models: tuple[str, ...] = ()

    def __repr__(self) -> str:
        # Without its key: what is printed may end in a log.
        return f"PaidApi({self.name})"


class WrongPaidApi(Exception):
    """Variables that name no API; the text names them."""


def is_paid_api_variable(name: str) -> bool:
    """Return whether a variable is about a paid API, or is meant to be: its value may be a secret."""
    return _ANY.fullmatch(name) is not None


def paid_apis(environ: Mapping[str, str]) -> tuple[PaidApi, ...]:
    """Return the APIs that the environment names.

    Raises:
        WrongPaidApi: one has a name that it cannot have, or lacks its URL or its key.
    """
    found: dict[str, dict[str, str]] = {}
    for variable in sorted(environ):
        if (parts := _ANY.fullmatch(variable)) and (value := environ[variable].strip()):
            found.setdefault(parts[1], {})[parts[2]] = value
    return tuple(_paid_api(name, values) for name, values in found.items())


def _paid_api(name: str, values: dict[str, str]) -> PaidApi:
    if not _NAME.fullmatch(name):
        raise WrongPaidApi(f"CLAW_PAID_{name}_...: the name of an API is of letters A to Z and digits, not {name!r}")
    if name.lower() in _TAKEN:
        raise WrongPaidApi(f"CLAW_PAID_{name}_...: '{name.lower()}/' stands before other models' names")
    for part in ("URL", "API_KEY"):
        if part not in values:
            raise WrongPaidApi(f"CLAW_PAID_{name}_{part} is not set, but other variables of that API are")
    # Azure's older form, whose list is not of what is deployed.
    if "{model}" in values["URL"] and not values.get("MODELS"):
        raise WrongPaidApi(f"CLAW_PAID_{name}_MODELS must name the models for the {{model}} of CLAW_PAID_{name}_URL")
    return PaidApi(name.lower(), values["URL"], values["API_KEY"], tuple(_listed(values.get("MODELS", ""))))


def _listed(text: str) -> Iterable[str]:
    return (name.strip() for name in text.split(",") if name.strip())
