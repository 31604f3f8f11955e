"""The site of a simulated day: local hosts with slots, free Gemini projects with quotas, a paid API with prices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shared.models.catalogue import Catalogue, default_catalogue, nano_usd
from shared.redis.names import queue_name
from shared.types import Tier, Usage

if TYPE_CHECKING:
    from bench.simulator.load import Request

LOCAL_MODEL: Final = "local-model"


@dataclass(frozen=True)
class Upstream:
    """One backend: an upstream, how many requests it takes at once, and how fast each of them gets its tokens.

    Args:
        tier: whose it is.
        provider: what it speaks.
        name: tells its queue from others.
        slots: requests at once.
        output_per_s: tokens of an answer a second.
        prompt_per_s: tokens of a prompt a second, before the answer begins.
    """

    tier: Tier
    provider: str
    name: str
    slots: int
    output_per_s: float
    prompt_per_s: float

    @property
    def queue(self) -> str:
        """Return the name of its queue."""
        return queue_name(self.tier, self.name)

    def service_ms(self, request: Request) -> int:
        """Return for how many milliseconds it is busy with a request."""
        seconds = request.prompt_tokens / self.prompt_per_s + request.output_tokens / self.output_per_s
        return max(1, round(1000 * seconds))


def host(number: int, slots: int, output_per_s: float) -> Upstream:
    """Return a host of the local tier; it reads prompts thirty times as fast as it writes."""
    return Upstream("local", "openai", f"host-{number}:8000", slots, output_per_s, 30 * output_per_s)


GEMINI: Final = Upstream("gemini", "gemini", "gemini", 64, 180, 20_000)
PAID: Final = Upstream("paid", "openai", "openai", 4096, 90, 20_000)


@dataclass(frozen=True, kw_only=True)
class Site:
    """Everything that can serve.

    Args:
        hosts: of the local tier.
        projects: free Gemini projects, each with one account and the catalogue's quotas.
        wait_s: for how long a request may wait at the local tier before another tier is better, in seconds.
        catalogue: quotas, prices, and what `auto` uses.
    """

    hosts: tuple[Upstream, ...] = (host(1, 4, 10), host(2, 4, 15), host(3, 4, 20))
    projects: int = 4
    wait_s: float = 10.0
    catalogue: Catalogue = field(default_factory=default_catalogue)

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """Return every upstream, the local hosts first."""
        return (*self.hosts, *((GEMINI,) if self.projects else ()), PAID)

    @property
    def paid_model(self) -> str:
        """Return the model that `auto` uses where it has to pay."""
        return self.catalogue.auto.paid[0]

    def cost_nano_usd(self, request: Request) -> int:
        """Return the price of a request if it is paid for, in billionths of a US dollar."""
        usage = Usage(request.prompt_tokens, request.output_tokens)
        return nano_usd(self.catalogue.cost_usd(self.paid_model, usage))
