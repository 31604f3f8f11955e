"""Counts the bytes of replies that aiohttp parses in each turn of the event loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiohttp.client_proto import ResponseHandler

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


@contextmanager
def bytes_parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[int]]:
    """Yield how many bytes are parsed in each turn from now on, by its number."""
    parsed: Counter[int] = Counter()
    loop, turn, is_over, parse = asyncio.get_running_loop(), 0, False, ResponseHandler.data_received

    def counted(handler: ResponseHandler, data: bytes) -> None:
        parsed[turn] += len(data)
        parse(handler, data)

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        if not is_over:
            loop.call_soon(next_turn)

    next_turn()
    monkeypatch.setattr(ResponseHandler, "data_received", counted)
    yield parsed
    is_over = True
