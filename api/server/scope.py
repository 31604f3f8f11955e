"""The scope of a request, with keys for what it may do to its connection and ASGI has no word for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.server.head import RequestHead

ABORT: Final = "claw.abort"
"""The key in an ASGI scope under which a request finds the function that aborts its connection."""
ON_DISCONNECT: Final = "claw.on_disconnect"
"""The key under which it can say what is called when its client leaves: then it need not receive to notice."""
PREFIX: Final = "claw.prefix"
"""The key of the path under which a trusted proxy has the gateway, as in `/gateway`; absent where it has none."""


def scope_of(head: RequestHead, common: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scope of a request; `common` is what all those of its connection have in common."""
    path, _, query = head.target.partition(b"?")
    return {
        **common,
        "method": head.method,
        "path": unquote(path.decode()),  # ASCII: `head.py` lets nothing else pass
        "raw_path": path,
        "query_string": query,
        "headers": head.headers,
        "state": common["state"].copy(),
        "extensions": {},
    }
