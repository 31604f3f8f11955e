"""Parse environment variables. Each function raises `SettingsError`, naming the variable."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.models.catalogue import Catalogue, load_catalogue
from shared.redis.url import parse_redis_url

if TYPE_CHECKING:
    from collections.abc import Callable


Networks = tuple[IPv4Network | IPv6Network, ...]


class SettingsError(Exception):
    """A variable of the environment that cannot be used; the text names it."""


def as_number(kind: Callable[[str], float], name: str, text: str, *, low: float) -> float:
    """Return a number from `low` on; a port is one up to 65535."""
    try:
        number = kind(text)
    except ValueError:
        raise SettingsError(f"{name} must be a number, not {text!r}") from None
    # Any bound will do that keeps infinity and overflow out of what is computed from it.
    high = 65535 if name in {"CLAW_PORT", "CLAW_METRICS_PORT"} else 1e12
    if not low <= number <= high:
        raise SettingsError(f"{name} must be from {low:g} to {high:,.0f}, not {text}")
    return number


def as_truth(name: str, text: str) -> bool:
    """Return a yes or no."""
    truths = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    if text.lower() not in truths:
        raise SettingsError(f"{name} must be true or false, not {text!r}")
    return truths[text.lower()]


def as_networks(name: str, text: str) -> Networks:
    """Return addresses and networks that are separated by commas."""
    try:
        return tuple(ip_network(one.strip(), strict=False) for one in text.split(",") if one.strip())
    except ValueError as error:
        raise SettingsError(f"{name} must be addresses or networks, separated by commas: {error}") from None


def as_catalogue(name: str, text: str) -> Catalogue:
    """Return the default catalogue with the file of this name over it."""
    try:
        return load_catalogue(Path(text).expanduser())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{name} cannot be used: {error}") from None


def check_url(name: str, text: str, schemes: tuple[str, ...]) -> None:
    """Refuse what is no URL of these schemes."""
    scheme = urlsplit(text).scheme
    if scheme not in schemes:
        raise SettingsError(f"{name} must be a URL that starts with {' or '.join(s + '://' for s in schemes)}")


def check_redis_url(name: str, text: str) -> None:
    """Refuse what is no URL of a Redis."""
    try:
        parse_redis_url(text)
    except ValueError as error:
        raise SettingsError(f"{name} {error}") from None


def as_ollama_url(text: str) -> str:
    """Parse OLLAMA_HOST as Ollama's own client does (envconfig.Host): `host`, `host:port` or a URL."""
    default_port = {"http": 80, "https": 443}.get(text.partition("://")[0], 11434)
    if "://" not in text:
        text = "http://" + text
    parts = urlsplit(text)
    host = parts.hostname or "localhost"
    # A server's variable, which says where it listens; a client on the machine reaches that by loopback.
    host = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host  # noqa: S104 -- compared, not bound
    return f"{parts.scheme}://{host}:{parts.port or default_port}{parts.path.rstrip('/')}"
