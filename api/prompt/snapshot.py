"""A snapshot of the installation, as an administrator and a model may see it.

It has numbers, states and names of a known form, and nothing that anybody wrote freely: no error texts, no addresses,
no names of keys and accounts, no prompts. `without_secrets` is the second fence behind that.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from api.prompt.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.settings import Settings

REMOVED: Final = "(removed)"
OTHER: Final = "(another name)"
MOST_MODELS: Final = 40
MOST_QUEUES: Final = 40
MOST_FAILURES: Final = 20
MOST_TABLES: Final = 40
_NAME: Final = re.compile(r"[A-Za-z0-9_.:/@+-]{1,120}")
# Keys of OpenAI, Anthropic and ours; Google's; what stands before the host of a URL; JSON web tokens.
_SECRETS: Final = re.compile(
    r"sk-[A-Za-z0-9_-]{6,}|AIza[A-Za-z0-9_-]{10,}|(?<=://)[^/\s@]+(?=@)|eyJ[A-Za-z0-9_-]{10,}\S*"
)
_SHORTEST_SECRET: Final = 6


class Service(msgspec.Struct, frozen=True):
    """A part of the installation, and whether it runs."""

    name: str
    running: bool


class Queue(msgspec.Struct, frozen=True):
    """The jobs of one backend. Its address is not told."""

    tier: str
    provider: str
    waiting: int
    running: int
    slots: int


class TierState(msgspec.Struct, frozen=True):
    """The models of a tier, and its place for `auto`; 0: none."""

    tier: str
    place_for_auto: int
    models: list[str]
    more_models: int = 0


class Quotas(msgspec.Struct, frozen=True):
    """The Gemini accounts together: how many are in which state, and what they used today."""

    accounts: dict[str, int]
    requests_today: int
    tokens_today: int


class Spend(msgspec.Struct, frozen=True):
    """The cost of this month at paid APIs, in US dollars; without a limit it and what remains are None."""

    month: str
    limit_usd: float | None
    spent_usd: float
    held_usd: float
    remaining_usd: float | None


class Failures(msgspec.Struct, frozen=True):
    """Requests of the last hour that failed in the same way."""

    status: int
    code: str
    tier: str
    model: str
    count: int


class Table(msgspec.Struct, frozen=True):
    """A table of the gateway's, with its columns and their types."""

    name: str
    columns: str
    rows_about: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The installation at one moment. What could not be read is None, and named in `unknown`."""

    captured_at: datetime
    versions: dict[str, str]
    machine: Machine
    services: list[Service]
    queues: list[Queue] | None
    tiers: list[TierState]
    quotas: Quotas | None
    spend: Spend | None
    failed_last_hour: list[Failures] | None
    schema: list[Table] | None
    table_count: int | None
    unknown: list[str]


_encode: Final = msgspec.json.encode
_decoder: Final = msgspec.json.Decoder(Snapshot)


def known_form(name: str) -> str:
    """Return a name that somebody else chose, as far as it can be no sentence and no markup."""
    return name if not name or _NAME.fullmatch(name) else OTHER


def bounded(names: Iterable[str], most: int) -> tuple[list[str], int]:
    """Return the first names, each of a known form, and how many more there are."""
    every = sorted({known_form(name) for name in names})
    return every[:most], max(0, len(every) - most)


def to_json(snapshot: Snapshot) -> bytes:
    """Return a snapshot as JSON."""
    return _encode(snapshot)


def from_json(raw: bytes) -> Snapshot:
    """Return a snapshot that was JSON.

    Raises:
        MsgspecError: it is none, or one of another version.
    """
    return _decoder.decode(raw)


def without_secrets(snapshot: Snapshot, secrets: Iterable[str]) -> Snapshot:
    """Return a snapshot in which no known secret stands, and nothing that looks like one."""
    every = tuple(secrets)

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            for secret in every:
                value = value.replace(secret, REMOVED)
            return _SECRETS.sub(REMOVED, value)
        if isinstance(value, list):
            return [clean(each) for each in value]
        if isinstance(value, dict):
            return {clean(name): clean(each) for name, each in value.items()}
        if isinstance(value, msgspec.Struct):
            fields = {name: clean(getattr(value, name)) for name in value.__struct_fields__}
            return msgspec.structs.replace(value, **fields)
        return value

    cleaned: Snapshot = clean(snapshot)
    return cleaned


def secrets_of(settings: Settings) -> list[str]:
    """Return the secrets that the settings of a process have, the longest first."""
    urls = (settings.database_url, settings.redis_url, settings.ollama_url)
    given = [settings.internal_secret, settings.local_openai_api_key, settings.cli_key]
    for url in (*urls, settings.local_openai_url, settings.local_embeddings_url):
        if url:
            parts = urlsplit(url)
            given += [url, parts.password, unquote(parts.password or ""), parts.query]
    found = {secret for secret in given if secret and len(secret) >= _SHORTEST_SECRET}
    # A URL goes whole, before the password in it leaves a hole.
    return sorted(found, key=len, reverse=True)
