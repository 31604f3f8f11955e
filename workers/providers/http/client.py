"""The one place where the client for upstream calls is built: httpx over aiohttp's transport.

httpx's own transport costs five times the CPU per request (docs/decisions/0002-dependencies.md).
"""

from __future__ import annotations

import httpx
from httpx_aiohttp import AiohttpTransport

CONNECT_TIMEOUT_S = 10.0


def upstream_client(base_url: str, *, headers: dict[str, str] | None = None, connections: int) -> httpx.AsyncClient:
    """Return a client for one upstream. Redirects are not followed; no read timeout: callers bound their waits.

    Args:
        base_url: what relative request paths are joined to.
        headers: sent with every request.
        connections: how many may be open at once.
    """
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=15.0)
    return httpx.AsyncClient(
        base_url=base_url,
        headers=headers,
        transport=AiohttpTransport(limits=limits, trust_env=False),
        timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
        trust_env=False,
        follow_redirects=False,
    )
