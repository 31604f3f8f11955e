"""Fixtures for a folder whose tests kill servers or attack them: its conftest.py imports them.

They stand in the place of those of `fleet_fixtures.py`: the servers are the test's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.upstreams.numbered import NumberedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cli.up.embedded.valkey import EmbeddedValkey

__all__ = ["fleet_redis_url", "upstream"]


@pytest.fixture
async def upstream() -> AsyncIterator[NumberedUpstream]:
    """Yield a counting upstream with answers long enough to be struck in the middle."""
    async with NumberedUpstream(tokens=40) as server:
        yield server


@pytest.fixture
def fleet_redis_url(valkey: EmbeddedValkey) -> str:
    """Return the Valkey of the test's own."""
    return valkey.url()
