"""A folder in memory, for what tests write and throw away."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 -- where Linux has it
_PREFIX: Final = "nself-claw-tests-"
_ROOM_BYTES: Final = 2 << 30


@contextlib.contextmanager
def memory_folder() -> Iterator[Path | None]:
    """Make a folder in memory and remove it at the end; None where there is no such place, or little room."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ROOM_BYTES:
        yield None
        return
    _remove_abandoned()
    with tempfile.TemporaryDirectory(
        dir=_MEMORY, prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


def _remove_abandoned() -> None:
    """Remove the folders of processes that were killed."""
    for folder in _MEMORY.glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)
