"""Disks that are small, or cannot be written to: mounted in memory, which root alone can do."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


_PARENT: Final = Path("/var/tmp")  # noqa: S108 -- only folders that mkdtemp makes
_NAME: Final = "claw-disk-"
"""The process that mounted it comes next."""


class SmallDisk:
    """A file system.

    Args:
        path: where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Leave no byte."""
        with self._filler.open("wb", buffering=0) as filler:
            for size in (65_536, 4096, 1):
                try:
                    while filler.write(bytes(size)):
                        pass
                except OSError:
                    continue
        assert os.statvfs(self.path).f_bavail == 0

    def free(self) -> None:
        """Make room again."""
        self._filler.unlink()

    def close_to_writers(self) -> None:
        """Let nobody write to it."""
        subprocess.run(["mount", "-o", "remount,ro", self.path], check=True)


@contextmanager
def small_disk_of(mib: int) -> Iterator[SmallDisk]:
    """Yield a disk of that size, where other users get in too."""
    _remove_those_of_killed_runs()
    path = Path(tempfile.mkdtemp(prefix=f"{_NAME}{os.getpid()}-", dir=_PARENT))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0755", "tmpfs", path], check=True)
    try:
        yield SmallDisk(path)
    finally:
        _remove(path)


def _remove_those_of_killed_runs() -> None:
    for path in _PARENT.glob(f"{_NAME}*"):
        if not Path("/proc", path.name.removeprefix(_NAME).partition("-")[0]).exists():
            # Another process of the tests may be at it.
            with suppress(OSError, subprocess.CalledProcessError):
                _remove(path)


def _remove(path: Path) -> None:
    subprocess.run(["umount", "--lazy", path], check=True)
    path.rmdir()
