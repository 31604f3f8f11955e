"""The names of upstreams that are known by their address."""

from __future__ import annotations

import hashlib
import ipaddress
import uuid
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from shared.settings import host_name

_MACHINE_IDS: Final = (Path("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id"))
"""Files that tell machines apart which have one name; the second is there in containers too, until a restart."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""By which one server is meant; other addresses of the loopback may have others at the same port."""


def backend_name(url: str) -> str:
    """Return the name of an upstream for its queue: its host, port and path, a loopback host by this machine's.

    The path tells servers apart that one proxy has at one port, and the two APIs of one Ollama.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{_host_name_of(host)}:{port}{parts.path.rstrip('/')}"


def _host_name_of(host: str) -> str:
    if host in _LOOPBACK:
        return machine_name()
    return f"{machine_name()}.{host}" if _is_of_this_machine(host) else host


def _is_of_this_machine(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # RFC 6761, section 6.3.
        return host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


@cache
def machine_name() -> str:
    """Return a name of this machine that no other has: its host name, which others may have too, and part of its id.

    Not the id itself, which machine-id(5) wants to be kept to the machine.
    """
    found = next((text for path in _MACHINE_IDS if (text := _read(path))), str(uuid.getnode()))
    return f"{host_name()}-{hashlib.sha256(f'nself-claw {found}'.encode()).hexdigest()[:8]}"


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
