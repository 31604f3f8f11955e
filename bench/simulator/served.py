"""A served request of a simulated day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.simulator.load import Request
    from shared.types import Tier


@dataclass(frozen=True)
class Served:
    """A served request. Moments are milliseconds since the day began; `project` is that of a free quota."""

    request: Request
    tier: Tier
    queue: str
    model: str
    project: str
    began_ms: int
    ended_ms: int
    cost_nano_usd: int
