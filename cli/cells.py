"""Values as text in tables and lines for people."""

from __future__ import annotations

import re
from typing import Final

NO_BUDGET: Final = "none"


def yes_no(value: object) -> str:
    """Write yes or no."""
    return "yes" if value else "no"


def usd(sum_usd: float | None) -> str:
    """Write US dollars, to the cent or as exactly as they are known."""
    if sum_usd is None:
        return NO_BUDGET
    whole, _, rest = f"{sum_usd:.6f}".partition(".")
    return f"${whole}.{rest.rstrip('0').ljust(2, '0')}"


def seconds(stamp: str | None) -> str | None:
    """Write an ISO time to the second, without a space in it: `2026-11-23T03:12:00Z`."""
    return None if stamp is None else re.sub(r"\.\d+", "", stamp)
