"""The joint load and capacity of the live workers of a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.types import BackendInfo

UNKNOWN_SERVICE_MS: Final = 5000
"""Assumed duration of an attempt where none has been measured yet."""


class Load(msgspec.Struct):
    """A queue as all its live workers announce it.

    Slots, ms that an attempt takes, until when which models are closed, ms that a token of an answer takes, how many
    jobs ran or waited there at the last look, where there are many queues, whether the operator has paused it, and the
    dialects that all of the workers know.
    """

    slots: int
    service_ms: int
    closed_ms: dict[str, int]
    ms_per_token: float = 0.0
    busy: int = 0
    is_paused: bool = False
    dialects: frozenset[str] = frozenset()

    def is_closed(self, model: str, now_ms: float) -> bool:
        """Return whether no account of any worker can serve a model now."""
        return self._closed_until_ms(model) > now_ms

    def next_start_s(self, model: str, now_ms: float) -> float:
        """Return after about how many seconds another attempt begins: when it opens, or when a slot is free."""
        return max(self._closed_until_ms(model) - now_ms, self.service_ms / max(1, self.slots)) / 1000

    def _closed_until_ms(self, model: str) -> int:
        return max(self.closed_ms.get(model, 0), self.closed_ms.get("", 0))  # "" is every model


def loads_of(backends: Iterable[BackendInfo]) -> dict[str, Load]:
    """Return each queue as all its live workers announce it together."""
    loads: dict[str, Load] = {}
    for backend in backends:
        load = loads.get(backend.queue)
        if load is None:
            loads[backend.queue] = Load(
                backend.slots,
                backend.service_ms,
                dict(backend.closed_ms),
                backend.ms_per_token,
                dialects=frozenset(backend.dialects),
            )
            continue
        # Open as soon as one of them is, and as fast as their mean, by slots.
        load.closed_ms = {
            model: min(until, backend.closed_ms[model])
            for model, until in load.closed_ms.items()
            if model in backend.closed_ms
        }
        load.service_ms = int(_mean((load.slots, load.service_ms), (backend.slots, backend.service_ms)))
        load.ms_per_token = _mean((load.slots, load.ms_per_token), (backend.slots, backend.ms_per_token))
        load.slots += backend.slots
        load.dialects &= set(backend.dialects)
    for load in loads.values():
        load.service_ms = load.service_ms or UNKNOWN_SERVICE_MS
    return loads


def _mean(*weighted: tuple[int, float]) -> float:
    """Return the mean of what is known; 0 where nothing is."""
    known = [(weight, value) for weight, value in weighted if value]
    weights = sum(weight for weight, _ in known)
    return sum(weight * value for weight, value in known) / weights if weights else 0.0
