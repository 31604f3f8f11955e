"""The names of upstreams that are known by their address."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from shared.settings import host_name

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def backend_name(url: str) -> str:
    """The name of an upstream for its queue: its host and port, a loopback host by this machine's name."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{host_name() if host in _LOOPBACK else host}:{port}"
