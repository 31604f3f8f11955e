"""Headers of trusted proxies about a client: its address, its scheme, and the path it came by.

Anybody can send these headers, so they count only from an address that the operator named (`CLAW_TRUSTED_PROXIES`).
Source: RFC 7239, section 7.4, for why; MDN on X-Forwarded-For for how a chain of proxies is read, from its end.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final

from api.server.scope import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from ipaddress import IPv4Address

    from shared.setting_values import Networks

MOST_PREFIX_CHARS: Final = 200
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
"""Segments of plain characters: it stands in links and in the path of cookies."""
_OF_INTEREST: Final = frozenset({b"x-forwarded-for", b"x-real-ip", b"x-forwarded-proto", b"x-forwarded-prefix"})


class TrustedProxies:
    """ASGI middleware that believes some proxies: the scope is as if their clients had come themselves.

    Args:
        app: what it wraps.
        networks: where the proxies are.
    """

    def __init__(self, app: Callable[..., Coroutine[Any, Any, None]], networks: Networks) -> None:
        self._app = app
        self._networks = networks

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        peer = scope.get("client")
        if scope["type"] == "http" and peer and (address := _address(peer[0])) is not None and self._trusts(address):
            self._believe(scope)
        await self._app(scope, receive, send)

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)

    def _believe(self, scope: Any) -> None:
        forwarded: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            if name in _OF_INTEREST:
                before = forwarded[name] + "," if name in forwarded else ""
                forwarded[name] = before + value.decode("latin-1")
        client = self._client(forwarded.get(b"x-forwarded-for") or forwarded.get(b"x-real-ip", ""))
        if client is not None:
            scope["client"] = (client, 0)  # none of the headers says its port
        # Of several the first is what the client itself used.
        scheme = forwarded.get(b"x-forwarded-proto", "").partition(",")[0].strip().lower()
        if scheme in {"http", "https"}:
            scope["scheme"] = scheme
        prefix = forwarded.get(b"x-forwarded-prefix", "").partition(",")[0].strip().rstrip("/")
        if len(prefix) <= MOST_PREFIX_CHARS and _PREFIX.fullmatch(prefix) and not _climbs(prefix):
            scope[PREFIX] = prefix

    def _client(self, chain: str) -> str | None:
        """Return the last address of a chain that is no trusted proxy; what stands before it may be made up."""
        client = None
        for text in reversed(chain.split(",")):
            address = _address(text.strip())
            if address is None:
                break
            client = str(address)
            if not self._trusts(address):
                break
        return client


def _climbs(prefix: str) -> bool:
    # Browsers take such segments out of links and of the path of cookies.
    return any(set(segment) == {"."} for segment in prefix.split("/") if segment)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, also one with a port or in brackets; one of IPv4 that is written as IPv6 is IPv4."""
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
