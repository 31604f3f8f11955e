"""Servers and processes that are away, refuse, or have no room."""

from __future__ import annotations

import os

from tests.attack.servers.own_address import may_add

# Only root can mount a disk that is small enough to fill, or a file that names a name server.
collect_ignore = [] if os.geteuid() == 0 else ["test_full_disk.py", "test_slow_names.py"]
# Nor can anybody else give the machine an address.
collect_ignore += [] if may_add() else ["test_own_address.py"]
