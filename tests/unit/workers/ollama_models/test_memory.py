"""Reading the free memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.ollama_models.memory import available_bytes

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_available_is_read_in_bytes(tmp_path: Path) -> None:
    """Not what is merely free: the cache can be had too."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       2000 kB\nMemFree:         100 kB\nMemAvailable:    1500 kB\n")
    assert available_bytes(meminfo) == 1500 * 1024


def test_where_it_cannot_be_reported_nothing_is_claimed(tmp_path: Path) -> None:
    """No such file, or an old kernel's."""
    assert available_bytes(tmp_path / "missing") is None
    (tmp_path / "old").write_text("MemFree: 100 kB\n")
    assert available_bytes(tmp_path / "old") is None
