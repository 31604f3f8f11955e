"""Servers and processes that are away, refuse, or have no room."""

from __future__ import annotations

import os

# Only root can mount a disk that is small enough to fill, or a file that names a name server.
collect_ignore = [] if os.geteuid() == 0 else ["test_full_disk.py", "test_slow_names.py"]
