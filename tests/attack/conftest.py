"""Processes and servers of the test's own, that a hostile client may do its worst to."""

from __future__ import annotations

from tests.chaos.conftest import client, fleet, upstream, valkey
from tests.fleet_fixtures import api

__all__ = ["api", "client", "fleet", "upstream", "valkey"]
