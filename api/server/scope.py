"""What a request may do to its connection, and ASGI has no word for: keys in its scope."""

from __future__ import annotations

from typing import Final

ABORT: Final = "claw.abort"
"""The key in an ASGI scope under which a request finds the function that aborts its connection."""
ON_DISCONNECT: Final = "claw.on_disconnect"
"""The key under which it can say what is called when its client leaves: then it need not receive to notice."""
PREFIX: Final = "claw.prefix"
"""The key of the path under which a trusted proxy has the gateway, as in `/gateway`; absent where it has none."""
