"""Settings: the only place that reads the environment.

Every variable is listed in `Settings` with its default and unit; `load_settings` checks them all
and raises `SettingsError` naming the first that is wrong.
"""

from __future__ import annotations

import difflib
import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from shared.models.catalogue import Catalogue, default_catalogue
from shared.models.paid_apis import PaidApi, WrongPaidApi, is_paid_api_variable, paid_apis
from shared.models.providers import PROVIDERS, ProviderInfo
from shared.process.tracing.trace_settings import OTLP_PREFIX, TraceSettings, read_trace_settings
from shared.setting_values import (
    Networks,
    SettingsError,
    as_catalogue,
    as_networks,
    as_number,
    as_ollama_url,
    as_truth,
    check_redis_url,
    check_url,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PROJECT_ROOT: Final = Path(__file__).resolve().parent.parent
MAX_RPM_LIMIT: Final = 1_000_000


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that can be configured. `VARIABLES` says which variable a field is read from."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 3713
    base_url: str | None = None
    cli_url: str | None = None
    ai_url: str | None = None
    cli_key: str | None = None
    shell_of: str | None = None
    database_url: str | None = None
    redis_url: str | None = None
    internal_secret: str | None = None

    ollama_url: str | None = None
    ollama_detect: bool = True
    ollama_cloud: bool = False
    ollama_slots: int = 4
    ollama_num_ctx: int = 8192
    ollama_max_num_ctx: int = 32_768
    local_openai_url: str | None = None
    local_openai_api_key: str | None = None
    local_openai_slots: int = 64
    local_embeddings_url: str | None = None
    local_embeddings_slots: int = 4
    auto_local_model: str | None = None
    auto_gemini_model: str | None = None
    auto_paid_model: str | None = None
    local_max_wait_s: float = 10.0
    monthly_budget_usd: float | None = None
    catalogue: Catalogue = msgspec.field(default_factory=default_catalogue)
    embeddings_fallback: bool = True
    strict_parameters: bool = False
    own_requests: str = "local"
    titles: bool = True
    store_responses: bool = True
    background_wait_s: float = 3600.0
    max_background: int = 100
    max_conversations_mib: int = 1024
    knowledge_model: str | None = None
    knowledge_tokens: int = 2000
    knowledge_without_token: bool = True
    gemini_slots: int = 16
    paid_slots: int = 64
    discovery_interval_s: float = 5.0

    api_processes: int | None = None
    local_workers: int | None = None
    max_body_mib: int = 20
    max_bodies_mib: int = 512
    max_waiting_jobs: int = 1000
    max_waiting_mib: int = 256
    head_wait_s: float = 10.0
    keep_alive_s: float = 15.0
    client_buffer_mib: float = 4.0
    queue_timeout_s: float = 300.0
    first_token_timeout_s: float = 120.0
    reasoning_timeout_s: float = 600.0
    between_tokens_timeout_s: float = 60.0
    total_timeout_s: float = 3600.0
    heartbeat_s: float = 1.0
    heartbeat_bound_s: float = 5.0
    drain_s: float = 30.0
    drain_delay_s: float = 5.0
    key_cache_s: float = 60.0
    relay_retain_s: float = 60.0
    redis_outage_s: float = 30.0
    retention_days: int = 400
    usage_retention_days: int = 400
    max_usage_records: int = 1_000_000
    cors_origins: str = "*"
    trusted_proxies: Networks = ()
    ui: bool = True
    web_password: str | None = None
    http: str = "direct"
    redis_pipe: bool = True
    upstream_http: str = "direct"
    log_level: str = "INFO"
    log_format: str = "text"
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    loop_watch_s: float | None = None
    tracing: TraceSettings | None = None
    strict_settings: bool = False

    @property
    def max_body_bytes(self) -> int:
        """Return the largest request body that is accepted, in bytes."""
        return self.max_body_mib * 1024 * 1024

    @property
    def max_bodies_bytes(self) -> int:
        """Return the request bodies that an api process may hold at a time, in bytes."""
        return self.max_bodies_mib * 1024 * 1024

    @property
    def max_waiting_bytes(self) -> int:
        """Return how many bytes of large bodies may wait in a queue."""
        return self.max_waiting_mib * 1024 * 1024

    @property
    def client_buffer_bytes(self) -> int:
        """Return what may wait for a client that reads slowly, in bytes; one that is further behind is disconnected."""
        return int(self.client_buffer_mib * 1024 * 1024)

    @property
    def api_gone_s(self) -> float:
        """Return after how many seconds without a sign of life an api process is judged dead.

        Longer than it may be away from Redis: what it serves meanwhile is delivered.
        """
        return self.redis_outage_s + self.heartbeat_bound_s

    @property
    def public_url(self) -> str:
        """Return the base URL that clients are to use, ending in /v1."""
        if self.base_url:
            return self.base_url.rstrip("/").removesuffix("/v1") + "/v1"
        return f"http://localhost:{self.port}/v1"


class GeminiKey(msgspec.Struct, frozen=True):
    """An account at the Gemini API that the environment names.

    `variable` is where its key stands; `project` the Google Cloud project whose quota it uses, if that is named.
    """

    variable: str
    api_key: str
    project: str | None = None

    def __repr__(self) -> str:
        # Without the key: what is printed may end in a log.
        return f"GeminiKey({self.variable})"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The credentials of upstreams. Only the workers of their tier read them; never logged or sent.

    `api_keys` and `base_urls` are by provider: those that have a key, and all those of the tier. `paid_apis` are
    further ones. `encryption_key` opens the credentials of Gemini accounts that were added at run time.
    """

    api_keys: dict[str, str] = {}
    base_urls: dict[str, str] = {}
    paid_apis: tuple[PaidApi, ...] = ()
    gemini_accounts: tuple[GeminiKey, ...] = ()
    encryption_key: str | None = None


ENCRYPTION_KEY: Final = "CLAW_ENCRYPTION_KEY"
VARIABLES: Final[dict[str, tuple[str, ...]]] = {
    "host": ("CLAW_HOST",),
    "port": ("CLAW_PORT",),
    "base_url": ("CLAW_BASE_URL",),
    "cli_url": ("NSELF_CLAW_URL",),
    "ai_url": ("NSELF_AI_URL",),
    "cli_key": ("NSELF_CLAW_KEY", "NSELF_CLAW_API_KEY"),
    "shell_of": ("NSELF_CLAW_ENV",),
    "database_url": ("DATABASE_URL",),
    "redis_url": ("REDIS_URL",),
    "internal_secret": ("PLUGIN_INTERNAL_SECRET",),
    "ollama_url": ("PLUGIN_OLLAMA_URL", "OLLAMA_HOST"),
    "ollama_detect": ("CLAW_OLLAMA_DETECT",),
    "ollama_cloud": ("CLAW_OLLAMA_CLOUD",),
    "ollama_slots": ("CLAW_OLLAMA_SLOTS",),
    "ollama_num_ctx": ("CLAW_OLLAMA_NUM_CTX",),
    "ollama_max_num_ctx": ("CLAW_OLLAMA_MAX_NUM_CTX",),
    "local_openai_url": ("CLAW_LOCAL_OPENAI_URL",),
    "local_openai_api_key": ("CLAW_LOCAL_OPENAI_API_KEY",),
    "local_openai_slots": ("CLAW_LOCAL_OPENAI_SLOTS",),
    "local_embeddings_url": ("CLAW_LOCAL_EMBEDDINGS_URL",),
    "local_embeddings_slots": ("CLAW_LOCAL_EMBEDDINGS_SLOTS",),
    "auto_local_model": ("CLAW_AUTO_LOCAL_MODEL", "PLUGIN_AI_OLLAMA_MODEL"),
    "auto_gemini_model": ("CLAW_AUTO_GEMINI_MODEL",),
    "auto_paid_model": ("CLAW_AUTO_PAID_MODEL",),
    "local_max_wait_s": ("CLAW_LOCAL_MAX_WAIT_S",),
    "monthly_budget_usd": ("PLUGIN_AI_MONTHLY_BUDGET_USD",),
    "catalogue": ("CLAW_CATALOGUE",),
    "embeddings_fallback": ("CLAW_EMBEDDINGS_FALLBACK",),
    "strict_parameters": ("CLAW_STRICT_PARAMETERS",),
    "own_requests": ("CLAW_OWN_REQUESTS",),
    "titles": ("CLAW_TITLES",),
    "store_responses": ("CLAW_STORE_RESPONSES",),
    "background_wait_s": ("CLAW_BACKGROUND_WAIT_S",),
    "max_background": ("CLAW_MAX_BACKGROUND",),
    "max_conversations_mib": ("CLAW_MAX_CONVERSATIONS_MIB",),
    "knowledge_model": ("CLAW_KNOWLEDGE_MODEL",),
    "knowledge_tokens": ("CLAW_KNOWLEDGE_TOKENS",),
    "knowledge_without_token": ("CLAW_KNOWLEDGE_WITHOUT_TOKEN",),
    "gemini_slots": ("CLAW_GEMINI_SLOTS",),
    "paid_slots": ("CLAW_PAID_SLOTS",),
    "discovery_interval_s": ("CLAW_DISCOVERY_INTERVAL_S",),
    "api_processes": ("CLAW_API_PROCESSES",),
    "local_workers": ("CLAW_LOCAL_WORKERS",),
    "max_body_mib": ("CLAW_MAX_BODY_MIB",),
    "max_bodies_mib": ("CLAW_MAX_BODIES_MIB",),
    "max_waiting_jobs": ("CLAW_MAX_WAITING_JOBS",),
    "max_waiting_mib": ("CLAW_MAX_WAITING_MIB",),
    "head_wait_s": ("CLAW_HEAD_WAIT_S",),
    "keep_alive_s": ("CLAW_KEEP_ALIVE_S",),
    "client_buffer_mib": ("CLAW_CLIENT_BUFFER_MIB",),
    "queue_timeout_s": ("CLAW_QUEUE_TIMEOUT_S",),
    "first_token_timeout_s": ("CLAW_FIRST_TOKEN_TIMEOUT_S",),
    "reasoning_timeout_s": ("CLAW_REASONING_TIMEOUT_S",),
    "between_tokens_timeout_s": ("CLAW_BETWEEN_TOKENS_TIMEOUT_S",),
    "total_timeout_s": ("CLAW_TOTAL_TIMEOUT_S",),
    "heartbeat_s": ("CLAW_HEARTBEAT_S",),
    "heartbeat_bound_s": ("CLAW_HEARTBEAT_BOUND_S",),
    "drain_s": ("CLAW_DRAIN_S",),
    "drain_delay_s": ("CLAW_DRAIN_DELAY_S",),
    "key_cache_s": ("CLAW_KEY_CACHE_S",),
    "relay_retain_s": ("CLAW_RELAY_RETAIN_S",),
    "redis_outage_s": ("CLAW_REDIS_OUTAGE_S",),
    "max_usage_records": ("CLAW_MAX_USAGE_RECORDS",),
    "retention_days": ("CLAW_RETENTION_DAYS",),
    # One setting bounds both; the log's own goes before it.
    "usage_retention_days": ("CLAW_USAGE_RETENTION_DAYS", "CLAW_RETENTION_DAYS"),
    "cors_origins": ("CLAW_CORS_ORIGINS",),
    "trusted_proxies": ("CLAW_TRUSTED_PROXIES",),
    "ui": ("CLAW_UI",),
    "web_password": ("CLAW_WEB_PASSWORD",),
    "loop_watch_s": ("CLAW_LOOP_WATCH_S",),
    "http": ("CLAW_HTTP",),
    "redis_pipe": ("CLAW_REDIS_PIPE",),
    "upstream_http": ("CLAW_UPSTREAM_HTTP",),
    "log_level": ("CLAW_LOG_LEVEL",),
    "log_format": ("CLAW_LOG_FORMAT",),
    "metrics_port": ("CLAW_METRICS_PORT",),
    "metrics_host": ("CLAW_METRICS_HOST",),
    "strict_settings": ("CLAW_STRICT_SETTINGS",),
}
_URL_SCHEMES: Final = {
    "database_url": ("postgresql", "postgres"),
    "local_openai_url": ("http", "https"),
    "local_embeddings_url": ("http", "https"),
    "ollama_url": ("http", "https"),
    "base_url": ("http", "https"),
    "cli_url": ("http", "https"),
    "ai_url": ("http", "https"),
}
_ORDERED: Final = (
    ("heartbeat_s", 2, "heartbeat_bound_s"),
    ("first_token_timeout_s", 1, "total_timeout_s"),
    ("between_tokens_timeout_s", 1, "total_timeout_s"),
    ("ollama_num_ctx", 1, "ollama_max_num_ctx"),
    ("max_body_mib", 1, "max_bodies_mib"),
    # An owner may fill half of a queue's bytes, which the largest body must fit into.
    ("max_body_mib", 2, "max_waiting_mib"),
)
"""Settings of which the second must be so many times the first: one late heartbeat, say, is no death."""
_MAY_BE_ZERO: Final = frozenset({"monthly_budget_usd", "drain_delay_s"})
_PREFIX: Final = "CLAW_"
_OTHER_VARIABLES: Final = ("CLAW_DATA_DIR", "CLAW_ENCRYPTION_KEY")
"""With our prefix, and no fields of `Settings`."""
_PARSERS: Final[Mapping[str, Callable[[str, str], object]]] = {
    "Catalogue": as_catalogue,
    "Networks": as_networks,
    "bool": as_truth,
}
"""Of values that are of these types."""
_CHOICES: Final = {
    "log_level": ("DEBUG", "INFO", "WARNING", "ERROR"),
    "log_format": ("text", "json"),
    "http": ("direct", "h11"),
    "upstream_http": ("direct", "aiohttp"),
    "own_requests": ("local", "free"),
}


def default_data_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Find where data lives: CLAW_DATA_DIR, else `.claw` here if it is there, else `.claw` beside the Procfile.

    Raises:
        SettingsError: the `.claw` that is here is another user's, or others may write to it. Its secrets and addresses
            are not to be trusted: whoever runs a command in a shared folder would send a secret where its owner says.
    """
    environ = os.environ if environ is None else environ
    named = environ.get("CLAW_DATA_DIR")
    if named:
        return Path(named).expanduser().absolute()
    here = Path.cwd() / ".claw"
    if not here.is_dir():
        return PROJECT_ROOT / ".claw"
    if here != PROJECT_ROOT / ".claw":
        _check_trusted(here, environ)
    return here


def _check_trusted(folder: Path, environ: Mapping[str, str]) -> None:
    """Check owner and mode of a folder that nobody named, as git does with a repository (safe.directory)."""
    trusted = {os.geteuid()}
    # As git does: under sudo the folder is still the caller's.
    if os.geteuid() == 0 and environ.get("SUDO_UID", "").isdigit():
        trusted.add(int(environ["SUDO_UID"]))
    named = f"If it is meant, name it: CLAW_DATA_DIR={folder}"
    # A link and what it leads to: both must be ours, or another user could point it elsewhere later.
    for found in (folder.lstat(), folder.stat()):
        if found.st_uid not in trusted:
            raise SettingsError(f"{folder} belongs to another user and is not trusted. {named}")
    if folder.stat().st_mode & 0o022:
        raise SettingsError(f"Others may write to {folder}, so it is not trusted: chmod go-w it. {named}")


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment, and the secrets of the data dir for those it does not name.

    Raises:
        SettingsError: a variable has a value that cannot be used; the text names it.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, object] = {"data_dir": default_data_dir(environ)}
    for field, names in VARIABLES.items():
        # The first that is set wins: our own name stands before those that other programs use too.
        for name in names:
            if environ.get(name, "").strip():
                found[field] = _parsed(field, name, environ[name].strip())
                break
    settings = Settings(**found)  # type: ignore[arg-type]  # each was read by the type of its field
    _check_together(settings)
    if settings.strict_settings and (unknown := unknown_variables(environ)):
        raise SettingsError("; ".join(unknown))
    return msgspec.structs.replace(
        settings,
        internal_secret=settings.internal_secret or _read_secret(settings.data_dir, "internal_secret"),
        tracing=read_trace_settings(environ),
    )


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return a sentence for each variable that begins with CLAW_ and is no setting, with the nearest name."""
    known = {name for names in VARIABLES.values() for name in names if name.startswith(_PREFIX)} | {*_OTHER_VARIABLES}
    found = []
    for name in sorted(os.environ if environ is None else environ):
        if name.startswith(_PREFIX) and name not in known and not is_paid_api_variable(name):
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            found.append(f"{name} is not a setting" + (f"; {nearest[0]} is" if nearest else ""))
    return found


def _check_together(settings: Settings) -> None:
    """Refuse settings that contradict each other.

    Raises:
        SettingsError: the text names both, and what they must be.
    """
    for smaller, factor, larger in _ORDERED:
        low, high = getattr(settings, smaller), getattr(settings, larger)
        if low * factor > high:
            times = f"{factor} times " if factor > 1 else ""
            raise SettingsError(
                f"{VARIABLES[larger][0]} ({high:g}) must be at least {times}{VARIABLES[smaller][0]} ({low:g})"
            )


def load_credentials(tier: str, environ: Mapping[str, str] | None = None) -> Credentials:
    """Read the credentials of a tier: from the environment, and for Gemini the encryption key of the data dir.

    Raises:
        SettingsError: a base URL cannot be used, or a paid API is named in part; the text names the variable.
    """
    environ = os.environ if environ is None else environ
    rows = [row for row in PROVIDERS.values() if row.tier == tier]
    base_urls = {row.name: row.base_url for row in rows}
    for row in rows:
        if row.url_variable and (url := environ.get(row.url_variable, "").strip()):
            check_url(row.url_variable, url, ("http", "https"))
            base_urls[row.name] = url
    keys = {(row.name, name): environ.get(name, "").strip() for row in rows for name in row.key_variables}
    accounts = [row for row in rows if row.has_accounts]
    encryption_key = None
    if accounts:
        named = environ.get(ENCRYPTION_KEY, "").strip()
        encryption_key = named or _read_secret(default_data_dir(environ), "encryption_key")
    return Credentials(
        api_keys={provider: key for (provider, _), key in keys.items() if key},
        base_urls=base_urls,
        paid_apis=_paid_apis(environ) if tier == "paid" else (),
        gemini_accounts=tuple(account for row in accounts for account in _accounts(row, environ)),
        encryption_key=encryption_key,
    )


_OF_SERVERS: Final = ("REDIS_URL", "DATABASE_URL", "PLUGIN_INTERNAL_SECRET", "CLAW_WEB_PASSWORD")
_USED_BY: Final[dict[str | None, tuple[str, ...]]] = {
    None: (),
    "local": ("REDIS_URL",),
    "paid": ("REDIS_URL",),
    "gemini": ("REDIS_URL", "DATABASE_URL"),
    "recorder": ("REDIS_URL", "DATABASE_URL"),
}
"""The variables that a process uses; the api and what is not ours, all."""
_UNTRACED: Final = (None, "recorder")
"""Processes that make no spans, and so have no use for the collector's credentials."""


def environment_for(tier: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with the credentials of one tier only, or of none, and of servers those that it uses.

    Args:
        tier: of a worker, or what else a process is (`web`, `recorder`); None for a model server.
        environ: has all of them.
    """
    # Taken away, not picked out: a process needs much of an environment that nobody can list.
    unused = set(_OF_SERVERS) - set(_USED_BY.get(tier, _OF_SERVERS))
    withheld = unused | {name for row in PROVIDERS.values() if tier != row.tier for name in _secret_variables(row)}
    if tier != "paid":
        withheld |= set(filter(is_paid_api_variable, environ))
    if tier in _UNTRACED:
        withheld |= {name for name in environ if name.startswith(OTLP_PREFIX)}
    return {name: value for name, value in environ.items() if name not in withheld}


SHELL_VARIABLES: Final = ("REDIS_URL", "DATABASE_URL", "PLUGIN_INTERNAL_SECRET", "NSELF_CLAW_URL", "NSELF_CLAW_ENV")
"""Variables that `nself claw env` sets in a shell: settings of a gateway that runs, not of one to be started."""


def forget_shell_variables() -> None:
    """Take what `nself claw env` has set out of this process's environment."""
    for name in SHELL_VARIABLES:
        os.environ.pop(name, None)


def stored_internal_secret(data_dir: Path) -> str | None:
    """Return the internal secret that was made for a data dir; None where there is none, or it cannot be read."""
    return _read_secret(data_dir, "internal_secret")


def ensure_secrets(data_dir: Path, names: tuple[str, ...] = ("internal_secret", "encryption_key")) -> None:
    """Make each named secret once, in `data_dir/secrets`, mode 600. One that is there is left alone."""
    folder = data_dir / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in names:
        draft = folder / f".{name}.{os.getpid()}"
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        try:
            # Fails where the name is taken: of two processes that start at once both use the first one's secret.
            (folder / name).hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()


def require(settings: Settings, *fields: str) -> None:
    """Check that the named settings are there.

    Raises:
        SettingsError: one is missing; the text names its variable.
    """
    for field in fields:
        if getattr(settings, field) is None:
            raise SettingsError(f"{VARIABLES[field][0]} is not set (`nself claw up` sets it for what it starts)")


def host_name() -> str:
    """Return the name of this machine, for queues and logs."""
    return socket.gethostname()


def _read_secret(data_dir: Path, name: str) -> str | None:
    try:
        return (data_dir / "secrets" / name).read_text().strip() or None
    except (FileNotFoundError, PermissionError):
        return None


def _secret_variables(row: ProviderInfo) -> tuple[str, ...]:
    return (*row.secret_variables, ENCRYPTION_KEY) if row.has_accounts else row.secret_variables


def _paid_apis(environ: Mapping[str, str]) -> tuple[PaidApi, ...]:
    try:
        found = paid_apis(environ)
    except WrongPaidApi as error:
        raise SettingsError(str(error)) from None
    for api in found:
        check_url(f"CLAW_PAID_{api.name.upper()}_URL", api.url, ("http", "https"))
    return found


def _accounts(row: ProviderInfo, environ: Mapping[str, str]) -> tuple[GeminiKey, ...]:
    """Return the accounts that are named, each key once."""
    found: dict[str, GeminiKey] = {}
    for name in row.key_variables:
        key = environ.get(name, "").strip()
        if key:
            # The same key under two names is one quota, and must not be counted as two.
            found.setdefault(key, GeminiKey(name, key, environ.get(f"{name}_PROJECT", "").strip() or None))
    return tuple(found.values())


def _parsed(field: str, name: str, text: str) -> object:
    # A text: the module's annotations are not evaluated.
    kind = Settings.__annotations__[field]
    if kind in _PARSERS:
        return _PARSERS[kind](name, text)
    if kind.startswith("int"):
        return as_number(int, name, text, low=0 if field == "port" else 1)  # 0: any free one
    if kind.startswith("float"):
        return as_number(float, name, text, low=0 if field in _MAY_BE_ZERO else 0.001)
    if field == "ollama_url":
        text = as_ollama_url(text)
    if field in _URL_SCHEMES:
        check_url(name, text, _URL_SCHEMES[field])
    if field == "redis_url":
        check_redis_url(name, text)
    if field == "log_level":
        text = text.upper()
    if text not in _CHOICES.get(field, (text,)):
        raise SettingsError(f"{name} must be one of {', '.join(_CHOICES[field])}, not {text!r}")
    return text
