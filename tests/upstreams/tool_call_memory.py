"""Tool-call state without Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class MemoryToolCallState:
    """Texts by model and tool-call id, in memory. The oldest go first.

    Args:
        capacity: how many are kept.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._kept: dict[tuple[str, str], str] = {}

    async def get_many(self, model: str, call_ids: Sequence[str]) -> Mapping[str, str]:
        """See `ToolCallState.get_many`."""
        return {call_id: self._kept[model, call_id] for call_id in call_ids if (model, call_id) in self._kept}

    async def put_many(self, model: str, texts: Mapping[str, str]) -> None:
        """See `ToolCallState.put_many`."""
        self._kept |= {(model, call_id): text for call_id, text in texts.items()}
        while len(self._kept) > self._capacity:
            del self._kept[next(iter(self._kept))]
