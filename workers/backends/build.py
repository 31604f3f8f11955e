"""Which upstreams a worker process serves: what is configured for its tier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.postgres.gemini_accounts import GeminiAccountStore
from shared.queue.arq_queue import queue_name
from shared.sealing import fingerprint
from workers.accounts.account import Account
from workers.accounts.gemini import GeminiAccounts
from workers.accounts.pool import Accounts
from workers.accounts.state import AccountLedger
from workers.backends.backend import Backend, backend_name
from workers.providers.anthropic.provider import AnthropicProvider
from workers.providers.gemini.provider import GeminiProvider
from workers.providers.images.fetch import ImageFetcher
from workers.providers.ollama.provider import OllamaProvider
from workers.providers.openai.provider import OpenAIProvider
from workers.providers.tool_call_notes import RedisSignatures

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.postgres.database import Database
    from shared.settings import Credentials, Settings
    from shared.types import Tier
    from workers.providers.base import Provider

DEFAULT_OLLAMA: Final = "http://127.0.0.1:11434"


def backends_of(
    tier: Tier, settings: Settings, credentials: Credentials, redis: Redis, database: Database | None = None
) -> list[Backend]:
    """The backends of a tier; none where nothing is configured for it.

    Args:
        tier: of this process.
        settings: what is configured.
        credentials: those of the tier.
        redis: connections that every part shares.
        database: where Gemini accounts are that were added at run time.
    """
    make = _Maker(tier, settings, redis)
    if tier == "local":
        return _local_backends(make, settings)
    if tier == "gemini":
        return [_gemini_backend(make, settings, credentials, database)]
    return _paid_backends(make, settings, credentials)


class _Maker:
    """Makes the backends of one tier."""

    def __init__(self, tier: Tier, settings: Settings, redis: Redis) -> None:
        self.tier: Tier = tier
        self.redis = redis
        self._settings = settings

    def ledger(self, name: str, *, is_counted: bool = False) -> AccountLedger:
        """Where the state of a backend's accounts is."""
        probe_s = self._settings.first_token_timeout_s
        return AccountLedger(self.redis, queue_name(self.tier, name), probe_s=probe_s, is_counted=is_counted)

    def backend(self, provider: Provider, name: str, slots: int, credential: str | None = None) -> Backend:
        """A backend with one account without quotas."""
        account = Account(f"{self.tier}:{name}", provider, fingerprint=fingerprint(credential or ""))
        return Backend(self.tier, provider, name, slots, accounts=Accounts(self.ledger(name), [account]))


def _local_backends(make: _Maker, settings: Settings) -> list[Backend]:
    """What is configured, else an Ollama on its usual port. They open no connection to where a client says."""
    backends = []
    fetch_image = ImageFetcher()
    if settings.local_openai_url:
        url, slots = settings.local_openai_url, settings.local_openai_slots
        api_key = settings.local_openai_api_key
        compatible = OpenAIProvider(url, api_key, connections=slots + 1, fetch_image=fetch_image)
        backends.append(make.backend(compatible, backend_name(url), slots, api_key))
    if settings.ollama_url or not backends:
        url, slots = settings.ollama_url or DEFAULT_OLLAMA, settings.ollama_slots
        ollama = OllamaProvider(
            url,
            num_ctx=settings.ollama_num_ctx,
            connections=slots + 1,
            max_num_ctx=settings.ollama_max_num_ctx,
            fetch_image=fetch_image,
        )
        backends.append(make.backend(ollama, backend_name(url), slots))
    if settings.local_embeddings_url:
        # A server may do both by one URL: its two backends need two queues.
        url, slots = settings.local_embeddings_url, settings.local_embeddings_slots
        backends.append(
            make.backend(OpenAIProvider(url, connections=slots + 1), "embeddings:" + backend_name(url), slots)
        )
    return backends


def _gemini_backend(make: _Maker, settings: Settings, credentials: Credentials, database: Database | None) -> Backend:
    """Always there, since accounts may be added later; not offered while there is none."""
    signatures, fetch_image = RedisSignatures(make.redis), ImageFetcher()
    slots = settings.gemini_slots

    def provider_for(api_key: str) -> Provider:
        url = credentials.gemini_base_url
        return GeminiProvider(url, api_key, slots + 1, signatures, fetch_image=fetch_image)

    ledger = make.ledger(GeminiProvider.name, is_counted=True)
    accounts = Accounts(ledger, catalogue=settings.catalogue, most_waiting=slots // 2)
    store = None if database is None else GeminiAccountStore(database)
    keeper = GeminiAccounts(accounts, credentials, store, make.redis, provider_for=provider_for)
    return Backend("gemini", keeper, keeper.name, slots, accounts=accounts, keeper=keeper)


def _paid_backends(make: _Maker, settings: Settings, credentials: Credentials) -> list[Backend]:
    """One for each API that there is a key for."""
    slots = settings.paid_slots
    backends = []
    if credentials.openai_api_key:
        openai = OpenAIProvider(credentials.openai_base_url, credentials.openai_api_key, connections=slots + 1)
        backends.append(make.backend(openai, openai.name, slots, credentials.openai_api_key))
    if credentials.anthropic_api_key:
        anthropic = AnthropicProvider(
            credentials.anthropic_base_url, credentials.anthropic_api_key, slots + 1, RedisSignatures(make.redis)
        )
        backends.append(make.backend(anthropic, anthropic.name, slots, credentials.anthropic_api_key))
    return backends
