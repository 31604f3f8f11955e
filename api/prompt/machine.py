"""The machine that an api process runs on: memory, disk, processors. Source: Linux' proc(5)."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final

import msgspec

_GB: Final = 1024**3
_MEMINFO: Final = Path("/proc/meminfo")
_LINE: Final = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", re.MULTILINE)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine's resources and their use; None where that is not known. A GB is 1024³ bytes."""

    cpu_cores: int
    cpu_percent: float | None
    ram_used_gb: float | None
    ram_total_gb: float | None
    disk_used_gb: float | None
    disk_total_gb: float | None


def look_at_machine(data_dir: Path, meminfo: Path = _MEMINFO) -> Machine:
    """Return what the machine has now; reads files, and asks the disk of the data folder.

    Args:
        data_dir: on the disk that is meant.
        meminfo: where memory is told.
    """
    cores = os.cpu_count() or 1
    total, available = _memory(meminfo)
    disk = _disk(data_dir)
    return Machine(
        cpu_cores=cores,
        cpu_percent=_load_percent(cores),
        ram_used_gb=None if total is None or available is None else _gb(total - available),
        ram_total_gb=None if total is None else _gb(total),
        disk_used_gb=None if disk is None else _gb(disk[1]),
        disk_total_gb=None if disk is None else _gb(disk[0]),
    )


def percent(used: float | None, total: float | None) -> float | None:
    """Return a share in percent; None where it is not known."""
    return None if used is None or not total else round(100 * used / total, 1)


def _load_percent(cores: int) -> float | None:
    """Return the jobs that ran or waited for a processor in the last minute, for each hundred of processors."""
    try:
        return round(min(100.0, 100 * os.getloadavg()[0] / cores), 1)
    except OSError:
        return None


def _memory(meminfo: Path) -> tuple[int | None, int | None]:
    try:
        found = {name: int(kb) * 1024 for name, kb in _LINE.findall(meminfo.read_text())}  # it says kB, and means KiB
    except OSError:
        return None, None
    return found.get("MemTotal"), found.get("MemAvailable")


def _disk(folder: Path) -> tuple[int, int] | None:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.total, usage.used


def _gb(size_bytes: int) -> float:
    return round(size_bytes / _GB, 1)
