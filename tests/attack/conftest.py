"""A fleet with servers of the test's own, that a hostile client may do its worst to."""

from __future__ import annotations

import os

from tests.own_servers import fleet_redis_url, upstream

__all__ = ["fleet_redis_url", "upstream"]

# Only root can mount a disk that is small enough to fill.
collect_ignore = [] if os.geteuid() == 0 else ["test_full_disk.py"]
