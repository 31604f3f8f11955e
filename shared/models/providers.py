"""The table of providers: what everyone must know of an upstream's API without speaking it. One row each.

A row's package has the adapter itself, in a module `connect` (see `workers/providers/base.py`); only workers import it.
Sources: what each API takes, as the modules of its package name it.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from shared.models.parameters import NATIVE_ONLY, lacking
from shared.types import Endpoint, Tier


class ProviderInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's row.

    Args:
        name: as it is announced and logged.
        tiers: the tiers that it serves; its `families` force the last one.
        families: how the names of its models begin, where such a name forces a tier.
        key_variables: the environment variables of its credentials; none where it needs none.
        has_accounts: whether each key is an account with quotas of its own, and accounts may be added at run time.
        url_variable: the environment variable of its base URL.
        base_url: its base URL where that variable is not set.
        credential: what an operator must set, for the message to a caller who names a model of a family.
        endpoints: what its models can be asked for.
        lacks: what its API cannot do, in the words of `shared/models/abilities.py`.
        package: the package of its adapter; `workers.providers.<name>` if empty.
    """

    name: str
    tiers: tuple[Tier, ...]
    families: re.Pattern[str] | None = None
    key_variables: tuple[str, ...] = ()
    has_accounts: bool = False
    url_variable: str = ""
    base_url: str = ""
    credential: str = ""
    endpoints: tuple[Endpoint, ...] = ("chat",)
    lacks: frozenset[str] = frozenset()
    package: str = ""

    @property
    def tier(self) -> Tier:
        """Return the tier that a name of its families forces."""
        return self.tiers[-1]

    @property
    def secret_variables(self) -> tuple[str, ...]:
        """Return the environment variables that only the workers of its tier may see."""
        projects = (f"{name}_PROJECT" for name in self.key_variables) if self.has_accounts else ()
        return (*self.key_variables, *projects, *((self.url_variable,) if self.url_variable else ()))


GEMINI_KEYS: Final = ("GEMINI_API_KEY", *(f"GEMINI_FREE_KEY_{number}" for number in range(1, 21)))
EVERYWHERE: Final = frozenset({"audio_output", "custom_tools", NATIVE_ONLY})
"""Abilities that no reply of the gateway can carry, and those that OpenAI's own Responses API alone has."""

_OLLAMA_LACKS: Final = EVERYWHERE | lacking("ollama") | {
    "n", "allowed_tools", "rare_effort", "audio", "files", "earlier_audio",
    "earlier_images", "image_output", "custom_calls",
}  # fmt: skip
_ROWS: Final = (
    ProviderInfo(
        name="openai",
        tiers=("local", "paid"),
        families=re.compile(r"gpt-|chatgpt-|chat-latest$|codex-mini-|ft:|o[0-9]|text-embedding-"),
        key_variables=("OPENAI_API_KEY",),
        url_variable="OPENAI_BASE_URL",
        base_url="https://api.openai.com/v1",
        credential="OPENAI_API_KEY",
        endpoints=("chat", "embeddings"),
        lacks=EVERYWHERE - {NATIVE_ONLY},
    ),
    ProviderInfo(
        name="ollama",
        tiers=("local",),
        endpoints=("chat", "embeddings"),
        lacks=_OLLAMA_LACKS,
    ),
    ProviderInfo(
        # Served by the workers of the local tier, which reach the Ollama; a model of it is a paid one all the same.
        name="ollama-cloud",
        tiers=("local", "paid"),
        families=re.compile(r"ollama-cloud/"),
        credential="CLAW_OLLAMA_CLOUD=true, and an Ollama that is signed in",
        lacks=_OLLAMA_LACKS | {"tool_choice"},  # it has no structured outputs
        package="workers.providers.ollama.cloud",
    ),
    ProviderInfo(
        name="gemini",
        tiers=("gemini",),
        # Gemma too: the same API serves it, from the same accounts.
        families=re.compile(r"gem(ini|ma)-"),
        key_variables=GEMINI_KEYS,
        has_accounts=True,
        url_variable="GEMINI_BASE_URL",
        base_url="https://generativelanguage.googleapis.com",
        credential="GEMINI_API_KEY (or GEMINI_FREE_KEY_1)",
        lacks=EVERYWHERE
        | lacking("gemini")
        | {
            "many_choices", "wide_seed", "wide_limit", "rare_service_tier", "rare_effort", "rare_audio", "file_ids",
            "earlier_audio",
            "earlier_images", "image_output", "custom_calls",
        },
    ),
    ProviderInfo(
        name="anthropic",
        tiers=("paid",),
        families=re.compile(r"claude-"),
        key_variables=("ANTHROPIC_API_KEY",),
        url_variable="ANTHROPIC_BASE_URL",
        base_url="https://api.anthropic.com",
        credential="ANTHROPIC_API_KEY",
        lacks=EVERYWHERE
        | lacking("anthropic")
        | {
            "n", "both_samplings", "reasoned_temperature", "reasoned_top_p", "service_tier", "rare_effort",
            "blank_stop", "allowed_tools", "audio",
            "rare_images", "file_ids", "rare_files", "earlier_audio",
            "earlier_images", "image_output", "custom_calls",
        },
    ),
)  # fmt: skip
PROVIDERS: Final[dict[str, ProviderInfo]] = {row.name: row for row in _ROWS}
"""Every provider by its name."""


def providers_of(tier: str | None) -> tuple[ProviderInfo, ...]:
    """Return the providers that serve a tier."""
    return tuple(row for row in PROVIDERS.values() if tier in row.tiers)


def family_of(model: str) -> ProviderInfo | None:
    """Return the provider to which a model's name belongs, if it forces a tier."""
    return next((row for row in PROVIDERS.values() if row.families and row.families.match(model)), None)


def endpoints_at(provider: str) -> tuple[Endpoint, ...]:
    """Return what the models of a provider can be asked for; one that this version does not know is taken to do all."""
    row = PROVIDERS.get(provider)
    return ("chat", "embeddings") if row is None else row.endpoints


def lacks_of(provider: str) -> frozenset[str]:
    """Return what a provider's API cannot do; of one that this version does not know only what none can."""
    row = PROVIDERS.get(provider)
    return EVERYWHERE if row is None else row.lacks
