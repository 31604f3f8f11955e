"""The names of upstreams that are known by their address."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from shared.settings import host_name

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def backend_name(url: str) -> str:
    """Return the name of an upstream for its queue: its host, port and path, a loopback host by this machine's name.

    The path tells servers apart that one proxy has at one port, and the two APIs of one Ollama.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{host_name() if host in _LOOPBACK else host}:{port}{parts.path.rstrip('/')}"
