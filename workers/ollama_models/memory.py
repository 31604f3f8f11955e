"""The memory of this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_MEMINFO: Final = Path("/proc/meminfo")
_AVAILABLE: Final = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)


def available_bytes(meminfo: Path = _MEMINFO) -> int | None:
    """Return the bytes free without swapping (proc(5), `MemAvailable`); None where that is unknown."""
    try:
        # Not MemFree: what the page cache holds is free for a model too.
        found = _AVAILABLE.search(meminfo.read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
