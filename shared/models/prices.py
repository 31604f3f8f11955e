"""Prices of models by their makers, and the most that a request can cost. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

if TYPE_CHECKING:
    from shared.types import Usage

# No price below zero, and none that is no number: a budget would grow by it, or could not be counted.
Usd = Annotated[float, msgspec.Meta(ge=0, le=10_000)]
Factor = Annotated[float, msgspec.Meta(ge=0, le=10)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]


class LongPrompt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By what the prices of a request are multiplied, all of it, whose prompt has more than `over_tokens` tokens."""

    over_tokens: Count
    prompt: Factor
    completion: Factor


class Prices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prices of a model, in US dollars per million tokens; None is not known.

    `prompt_audio_usd` and `completion_audio_usd` are for tokens that are sound, where those have prices of their own.
    `regional` is what all are multiplied by where the upstream is bound to a region. `web_search_usd` is asked for each
    search that the upstream makes itself.
    """

    prompt_usd: Usd | None = None
    cached_usd: Usd | None = None
    cache_write_usd: Usd | None = None
    cache_write_1h_usd: Usd | None = None
    completion_usd: Usd = 0.0
    prompt_audio_usd: Usd | None = None
    completion_audio_usd: Usd | None = None
    web_search_usd: Usd = 0.0
    regional: Factor = 1.0
    long_prompt: LongPrompt | None = None
    service_tiers: dict[str, Factor] = {}

    def cost_usd(self, usage: Usage) -> float:
        """Return what the maker asks for these tokens, in US dollars: its own bill, else what they cost by its prices.

        0 where those are not known.
        """
        usage = usage.consistent()
        if usage.billed_usd is not None:
            return usage.billed_usd
        if self.prompt_usd is None:
            return 0.0
        cached, written, written_1h = usage.cached_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens
        write_usd = _or(self.cache_write_usd, self.prompt_usd)
        fresh = usage.prompt_tokens - cached - written
        # Upstreams do not say how many of the cached ones are sound, which are cheaper.
        heard, spoken = min(usage.prompt_audio_tokens, fresh), usage.completion_audio_tokens
        prompt_usd = (
            (fresh - heard) * self.prompt_usd
            + heard * _or(self.prompt_audio_usd, self.prompt_usd)
            + cached * _or(self.cached_usd, self.prompt_usd)
            + (written - written_1h) * write_usd
            + written_1h * _or(self.cache_write_1h_usd, write_usd)
        )
        completion_usd = (usage.completion_tokens - spoken) * self.completion_usd
        completion_usd += spoken * _or(self.completion_audio_usd, self.completion_usd)
        # Counts are of all requests together, and each had a prompt of its own.
        if self.long_prompt is not None and usage.prompt_tokens > self.long_prompt.over_tokens * usage.requests:
            prompt_usd *= self.long_prompt.prompt
            completion_usd *= self.long_prompt.completion
        factor = self.service_tiers.get(usage.service_tier, 1.0) * (self.regional if usage.is_regional else 1.0)
        tokens_usd = (prompt_usd + completion_usd) * factor / 1e6
        return tokens_usd + usage.web_searches * self.web_search_usd

    def most_cost_usd(
        self,
        prompt_tokens: int,
        completion_tokens: int,
        service_tier: str = "",
        web_searches: int = 0,
        *,
        has_audio: bool = True,
    ) -> float:
        """Return the most that a request can cost within these bounds, wherever its prompt is cached or written to."""
        if self.prompt_usd is None:
            return 0.0
        heard_usd, spoken_usd = (self.prompt_audio_usd, self.completion_audio_usd) if has_audio else (None, None)
        prices = (self.prompt_usd, self.cached_usd, self.cache_write_usd, self.cache_write_1h_usd, heard_usd)
        prompt_usd = prompt_tokens * max(usd for usd in prices if usd is not None)
        completion_usd = completion_tokens * max(self.completion_usd, spoken_usd or 0.0)
        if self.long_prompt is not None and prompt_tokens > self.long_prompt.over_tokens:
            # An operator's factor may be below 1: the bound holds for short prompts too.
            prompt_usd *= max(1.0, self.long_prompt.prompt)
            completion_usd *= max(1.0, self.long_prompt.completion)
        # A tier of the project's own setting, or one that the maker falls back to, may be another than the one named.
        factor = max(1.0, 1.0 if service_tier in _STANDARD else self._most_factor(service_tier))
        factor *= max(1.0, self.regional)  # which the maker's own setting may be, unsaid
        return (prompt_usd + completion_usd) * factor / 1e6 + web_searches * self.web_search_usd

    def _most_factor(self, service_tier: str) -> float:
        """Return what a tier multiplies prices by; one without a price may be served as any: `fast` is `priority`."""
        own = self.service_tiers.get(service_tier)
        return max(self.service_tiers.values(), default=1.0) if own is None else own


_STANDARD: Final = frozenset({"", "default", "standard", "standard_only"})


def _or(usd: float | None, otherwise_usd: float) -> float:
    return otherwise_usd if usd is None else usd
