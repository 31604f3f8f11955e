"""The catalogue of models: the names that force a tier, aliases, prices, context lengths, abilities, free quotas.

The defaults are in `catalogue.toml`; the operator's file (CLAW_CATALOGUE) is put over them.
"""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from shared.models.embedding_models import EmbeddingEntry, embedding_entry
from shared.models.over_responses import LACKS_OVER_RESPONSES
from shared.models.prices import Count, Prices
from shared.models.providers import PROVIDERS, family_of
from shared.types import Endpoint, Usage

if TYPE_CHECKING:
    from shared.openai.request import ChatBody

AUTO: Final = "auto"
LOCAL: Final = "local"
LOCAL_EMBEDDING: Final = "nomic-embed-text"
FALLBACK_EMBEDDING: Final = "text-embedding-3-small"
"""Fallback of embeddings where the local model is not there and an OpenAI key is."""
_DEFAULT: Final = Path(__file__).with_name("catalogue.toml")


def is_served_by(model: str, provider: str) -> bool:
    """Return whether a name forces this provider's tier; its other models (images, speech) are not served."""
    if provider not in PROVIDERS:  # a further paid API, which offers what has a price
        return model.startswith(f"{provider}/")
    family = family_of(model)
    return family is not None and family.name == provider and not _OTHER_KINDS.search(model)


_OTHER_KINDS = re.compile(r"audio|image|realtime|transcribe|tts|search|instruct|codex|deep-research|live|robotics")
_EMBEDS = re.compile(r"embed|(^|[-_/])(bge|e5|gte|minilm)([-_.:/]|$)", re.IGNORECASE)


def endpoints_of(model: str) -> tuple[Endpoint, ...]:
    """Return what a model that its server says nothing about is for, by its name: one that embeds does not chat."""
    return ("embeddings",) if _EMBEDS.search(model) else ("chat",)


class ModelEntry(Prices, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model of the catalogue. Lengths are in tokens; None is not known.

    `image_tokens` is how many an image has at the most. `first_token_timeout_s` bounds the silence before the first
    token where the setting's bound does not fit. `cannot` holds the parameters of a chat request that the model does
    not take, and `images`, `audio`, `files`, `tools` for what its messages cannot hold; `cannot_reasoning` what it does
    not take besides while it reasons. `responses` says which chat requests go over OpenAI's Responses API: those with
    tools, those with tools while it reasons, or all.
    """

    context_length: Count | None = None
    max_output_tokens: Count | None = None
    image_tokens: Count = 12_000
    first_token_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None
    default_effort: str = ""
    cannot: tuple[str, ...] = ()
    cannot_reasoning: tuple[str, ...] = ()
    responses: Literal["", "reasoned_tools", "tools", "always"] = ""
    shutdown: date | None = None
    replacement: str = ""
    checked: date | None = None
    sources: tuple[str, ...] = ()

    def lacks(self, effort: str | None = None, *, has_tools: bool = False) -> tuple[str, ...]:
        """Return what the model does not take at this `reasoning_effort`; None is its default one."""
        lacks = self.cannot + self.cannot_reasoning if self._reasons(effort) else self.cannot
        return (*lacks, *LACKS_OVER_RESPONSES) if self.is_over_responses(effort, has_tools=has_tools) else lacks

    def lacks_for(self, body: ChatBody) -> tuple[str, ...]:
        """Return what the model does not take of a chat request; see `lacks`."""
        return self.lacks(body.reasoning_effort, has_tools=body.has_tools)

    def is_over_responses(self, effort: str | None, *, has_tools: bool) -> bool:
        """Return whether a chat request goes over OpenAI's Responses API; see `lacks`."""
        if self.responses == "reasoned_tools":
            return has_tools and self._reasons(effort)
        return self.responses == "always" or (has_tools and self.responses == "tools")

    def _reasons(self, effort: str | None) -> bool:
        return (effort or self.default_effort) != "none"


class Quota(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The free quota of a project for one model; None is no limit. A day is one of US Pacific time."""

    requests_per_minute: Count | None = None
    prompt_tokens_per_minute: Count | None = None
    requests_per_day: Count | None = None


class AutoModels(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Models of `auto` in the tiers that are not local, best first."""

    gemini: tuple[str, ...] = ()
    paid: tuple[str, ...] = ()


_UNKNOWN: Final = ModelEntry()
_DATE: Final = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")
_FINE_TUNED: Final = re.compile(r"(ft:[^:]+):.*", re.DOTALL)
_VENDOR: Final = re.compile(r"(openai|google|anthropic|models)/(.+)", re.DOTALL)
_VENDORS: Final = {"openai": "openai", "google": "gemini", "models": "gemini", "anthropic": "anthropic"}
"""Prefixes of these providers' models elsewhere: at routers, and in Gemini's own list."""
NANO_USD: Final = 1e9
"""Billionths of a US dollar in one: what budgets are counted in, since whole numbers add up exactly."""


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that is known of models. Build it with `load_catalogue`."""

    auto: AutoModels = AutoModels()
    aliases: dict[str, str] = {}
    quotas: dict[str, Quota] = {}
    sources: dict[str, str] = {}
    models: dict[str, ModelEntry] = {}
    embeddings: dict[str, EmbeddingEntry] = {}

    def resolve(self, name: str) -> str:
        """Return the model that is served for a name: its alias, its name without the maker's before it, or itself."""
        # An alias of the operator's may look so, and goes first.
        if name not in self.aliases and (prefixed := _VENDOR.fullmatch(name)):
            vendor, rest = prefixed.groups()
            family = family_of(rest)
            if family is not None and family.name == _VENDORS[vendor]:
                name = rest
        return self.aliases.get(name, name)

    def entry(self, model: str) -> ModelEntry:
        """Return what is known of a model; an empty entry for one that is not in the catalogue."""
        if (found := self.models.get(model)) is not None:
            return found
        made_of = _FINE_TUNED.fullmatch(model)
        # A fine-tuned or dated model is priced and able as the one that it was made of.
        return self.models.get(_DATE.sub("", made_of.group(1) if made_of else model), _UNKNOWN)

    def has_price(self, model: str) -> bool:
        """Return whether it is known what a paid model costs; without that it is not served."""
        return self.entry(model).prompt_usd is not None

    def embedding(self, model: str) -> EmbeddingEntry:
        """Return what is known of a model that embeds."""
        return embedding_entry(self.embeddings, model)

    def quota(self, model: str) -> Quota:
        """Return what a free project may use of a Gemini model."""
        found = self.quotas.get(model)
        return found if found is not None else self.quotas.get("default", Quota())

    def cost_usd(self, model: str, usage: Usage) -> float:
        """Return what a request at a paid API costs, in US dollars; 0 for a model whose price is not known."""
        return self.entry(model).cost_usd(usage)


def nano_usd(cost_usd: float) -> int:
    """Convert US dollars to whole billionths."""
    return round(cost_usd * NANO_USD)


def load_catalogue(path: Path | None = None) -> Catalogue:
    """Return the defaults, with the operator's file over them.

    Raises:
        ValueError: the file cannot be read, or something in it has no meaning; the text says what.
    """
    if path is None:
        return default_catalogue()
    merged = _read(_DEFAULT)
    try:
        own = _read(path)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    _put_over(merged, own)
    _check_entries(own)
    try:
        made = msgspec.convert(merged, Catalogue)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    for name, model in made.aliases.items():
        # One step only: chains could end in a circle.
        if model in made.aliases:
            raise ValueError(f"aliases: {name!r} stands for {model!r}, which is an alias itself")
    return made


@cache
def default_catalogue() -> Catalogue:
    """Return the catalogue without an operator's file."""
    return msgspec.convert(_read(_DEFAULT), Catalogue)


def _read(path: Path) -> dict[str, Any]:
    return msgspec.toml.decode(path.read_bytes(), type=dict[str, Any])


def _check_entries(own: dict[str, Any]) -> None:
    """Check each entry, so that the error names the model that is wrong, which the whole's own error does not."""
    kinds: dict[str, type[msgspec.Struct]] = {"models": ModelEntry, "quotas": Quota, "embeddings": EmbeddingEntry}
    for table, kind in kinds.items():
        entries = own.get(table)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            try:
                msgspec.convert(entry, kind)
            except msgspec.ValidationError as error:
                raise ValueError(f"{table}.{name}: {error}") from error


def _put_over(below: dict[str, Any], above: dict[str, Any]) -> None:
    """Take over every value of `above`, table by table."""
    for name, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(name), dict):
            _put_over(below[name], value)
        else:
            below[name] = value
