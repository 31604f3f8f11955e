"""A fleet with servers of the test's own, that a hostile client may do its worst to."""

from __future__ import annotations

from tests.own_servers import fleet_redis_url, upstream

__all__ = ["fleet_redis_url", "upstream"]
