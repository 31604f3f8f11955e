"""The only code that calls a model: one process kind per tier, and the recorder."""

import sys
from typing import Any

# httpx imports its command line wherever rich is installed, as it is for ours: 4 MiB in each process that only asks.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("httpx._main", None)
