"""A fleet with servers of its own, that tests may kill."""

from __future__ import annotations

from tests.own_servers import fleet_redis_url, upstream

__all__ = ["fleet_redis_url", "upstream"]
